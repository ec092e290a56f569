#!/usr/bin/env python3
"""Turns the JSON lines of `dray bench weights` into one picture: rate per case, cold and warm.

The bar is the median, the whisker the smallest and largest round. gnuplot draws.
"""
import json
import subprocess
import sys

SCRIPT = """
set terminal svg size 900,{height} font 'sans,13' background '#ffffff'
set output '{out}'
set multiplot layout {panels},1
set style fill solid 0.85 border -1
set boxwidth 0.6
set grid xtics lc rgb '#dddddd'
set border 3
set tics nomirror
set xlabel 'GB/s'
unset key
{plots}
unset multiplot
"""

PLOT = """
set title 'loading a model of {size:.2f} GB, {cache} page cache ({rounds} rounds: median, min, max)'
set ytics noenhanced ({labels})
set yrange [-0.6:{top}]
set xrange [0:*]
$data{n} << END
{rows}
END
plot $data{n} using ($2/2):1:($2/2):(0.3):5 with boxxyerror lc rgb variable, \\
     $data{n} using 2:1:3:4 with xerrorbars lc rgb '#333333' pt 0
"""


def panel(number, cache, lines):
    rows, labels = [], []
    for at, line in enumerate(reversed(lines)):
        rate = line["gigabytes_per_second"]
        colour = 0x2B7A78 if line["case"].startswith("dray") else 0xC8553D if "limit" in line["case"] else 0x9AA5B1
        rows.append(f"{at} {rate['median']} {rate['min']} {rate['max']} {colour}")
        labels.append(f"'{line['case']}' {at}")
    return PLOT.format(n=number, cache=cache, size=lines[0]["bytes"] / 1e9, rounds=lines[0]["rounds"],
                       labels=", ".join(labels), top=len(lines) - 0.4, rows="\n".join(rows))


def main(source, target):
    lines = [json.loads(line) for line in open(source, encoding="utf-8")]
    plots = []
    for cache in ("cold", "warm"):
        chosen = [line for line in lines if line.get("cache") == cache and "gigabytes_per_second" in line]
        if chosen:
            plots.append(panel(len(plots), cache, chosen))
    if not plots:
        sys.exit(f"{source}: no load cases to draw")
    script = SCRIPT.format(out=target, panels=len(plots), height=340 * len(plots), plots="\n".join(plots))
    subprocess.run(["gnuplot"], input=script, text=True, check=True)


if __name__ == "__main__":
    main(*sys.argv[1:3])
