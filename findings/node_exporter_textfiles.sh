#!/usr/bin/env bash
# Subject    Prometheus' node exporter 1.11.1 (Debian 1.11.1-3), textfile collector
# Behaviour  Two files, each of them right, that give one name two types: the samples of the second one
#            are left out, the page is answered with 200 and node_textfile_scrape_error is 0. Two
#            files with equal series: the same. (Two files with other help texts do set it to 1.)
# Seen       rows_last{job="a"} 1, error 0, where b.prom has rows_last{job="b"} 2
# Matters    Cron jobs that leave files do not know of each other. The metric by which one watches them
#            says that all is well while values are missing; only the exporter's log tells.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

debian prometheus-node-exporter=1.11.1-3

# show A B: what the exporter serves of two files.
show() {
    local port folder
    port=$(free_port)
    folder=$(mktemp -d "$FOLDER/texts.XXXX")
    echo "$1" >"$folder/a.prom"
    echo "$2" >"$folder/b.prom"
    timeout --kill-after=5 20 "$FOLDER/debian/usr/bin/prometheus-node-exporter" --web.listen-address="127.0.0.1:$port" \
        --collector.disable-defaults --collector.textfile --collector.textfile.directory="$folder" \
        >/dev/null 2>&1 &
    fetch --fail -o "$folder/page" -w '%{http_code}\n' "http://127.0.0.1:$port/metrics"
    kill "$!"
    grep -E '^(rows_last|node_textfile_scrape_error)' "$folder/page"
}

help='# HELP rows_last Rows.'
expect "two types" $'200\nnode_textfile_scrape_error 0\nrows_last{job="a"} 1' \
    "$(show "$help"$'\n# TYPE rows_last gauge\nrows_last{job="a"} 1' "$help"$'\n# TYPE rows_last counter\nrows_last{job="b"} 2')"
expect "one series" $'200\nnode_textfile_scrape_error 0\nrows_last 1' \
    "$(show "$help"$'\n# TYPE rows_last gauge\nrows_last 1' "$help"$'\n# TYPE rows_last gauge\nrows_last 2')"
expect "one type" $'200\nnode_textfile_scrape_error 0\nrows_last{job="a"} 1\nrows_last{job="b"} 2' \
    "$(show "$help"$'\n# TYPE rows_last gauge\nrows_last{job="a"} 1' "$help"$'\n# TYPE rows_last gauge\nrows_last{job="b"} 2')"
