"""The cost model: a problem, facts about its weight and a machine go in; predicted nanoseconds come out."""
