#!/bin/sh
# Times the networks in this folder on this machine, 64-bit ARM with Linux or macOS, and prints a table: sh run.sh [REPEATS]
# CC is the compiler; RUN, if set, goes before the program: an emulator, or taskset -c 3.
set -eu
cd "$(dirname "$0")"
repeats=${1:-30}
${CC:-cc} -std=c11 -O2 -pthread -I native runner.c native/*.c -o runner -lm
grep -m1 -E 'model name|CPU part|Model' /proc/cpuinfo 2> /dev/null || sysctl -n machdep.cpu.brand_string 2> /dev/null || true
tab=$(printf '\t')

# The median of the runs of $1, in nanoseconds; nothing if the processor lacks an instruction.
median() {
    ${RUN:-} ./runner "$1.cases" "$1.results" "$repeats" | tr ' ' '\n' | grep . | sort -n | awk '{t[NR] = $1} END {if (NR) print t[int((NR + 1) / 2)]}'
}

printf '%-48s %-16s %12s %12s %6s  %s\n' network target 'sparse ms' 'dense ms' ratio outputs
while IFS="$tab" read -r stem target name; do
    sparse=$(median "$stem-sparse")
    dense=$(median "$stem-dense")
    if [ -z "$sparse" ]; then
        printf '%-48s %-16s %s\n' "$name" "$target" 'this processor lacks its instructions'
        continue
    fi
    same='as emulated'
    cmp -s "$stem-sparse.results" "$stem-sparse.expected" || same='differ in the last bits from emulated ones, or are wrong'
    awk -v s="$sparse" -v d="$dense" -v n="$name" -v t="$target" -v same="$same" \
        'BEGIN {printf "%-48s %-16s %12.3f %12.3f %6.2f  %s\n", n, t, s / 1e6, d / 1e6, d / s, same}'
done < networks.txt
