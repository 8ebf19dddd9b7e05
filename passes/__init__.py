"""The passes: a `Unit` goes in and comes out changed. `PASSES` is the whole pipeline, in order."""
