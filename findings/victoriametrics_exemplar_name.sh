#!/usr/bin/env bash
# Subject    VictoriaMetrics 1.145.0 (Debian 1.145.0+ds1-2), import of exposition text
# Behaviour  A sample without labels that has an exemplar becomes another series: the name is all that
#            stands before the exemplar's brace, its labels and its value are the exemplar's. A sample
#            with labels is read right.
# Seen       `jobs_total 5 #{trace_id="a1"}` 0.25, from `jobs_total 5 # {trace_id="a1"} 0.25`
# Matters    The counter is missing, and each trace makes a series, which no limit of the program
#            that was measured can bound. The answer is 204 all the same.
set -euo pipefail
# shellcheck source=lib.sh
source "$(dirname "$0")/lib.sh"

debian victoria-metrics=1.145.0+ds1-2

port=$(free_port)
server "$FOLDER/debian/usr/bin/victoria-metrics" -storageDataPath="$FOLDER/data" -httpListenAddr="127.0.0.1:$port"
ready "http://127.0.0.1:$port/health"

status=$(fetch -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/api/v1/import/prometheus" --data-binary @- <<'TEXT'
# TYPE jobs counter
jobs_total 5 # {trace_id="a1"} 0.25
# TYPE mails counter
mails_total{kind="bill"} 7 # {trace_id="a1"} 0.25
# EOF
TEXT
)
expect "the import is answered with success" 204 "$status"

fetch "http://127.0.0.1:$port/internal/force_flush"
export_all() {
    fetch --get "http://127.0.0.1:$port/api/v1/export" --data-urlencode 'match[]={__name__=~".+"}' | python3 -c '
import json, sys
for line in sorted(sys.stdin):
    series = json.loads(line)
    print(sorted(series["metric"].items()), series["values"])'
}
for _ in {1..40}; do
    seen=$(export_all)
    [[ $(wc -l <<<"$seen") -ge 2 ]] && break
    sleep 0.5
done
expect "jobs_total is called otherwise" \
    "[('__name__', 'jobs_total 5 #'), ('trace_id', 'a1')] [0.25]
[('__name__', 'mails_total'), ('kind', 'bill')] [7]" "$seen"
