# shellcheck shell=bash
# What the scripts share: sourced by each, run by nobody. README.md tells the form.
# Exit codes: 0 it is as stated; 1 it is not any more; 2 it could not be looked at.
set -euo pipefail

FOLDER=$(mktemp -d)
PIDS=()

clean_up() {
    local pid
    for pid in ${PIDS[@]+"${PIDS[@]}"}; do
        kill "$pid" 2>/dev/null || true
    done
    wait # not for long: each of them is a `timeout` that kills after five seconds
    rm -rf "$FOLDER"
}
trap clean_up EXIT

cannot() {
    echo "could not be looked at: $*" >&2
    exit 2
}

# expect WHAT STATED SEEN: go on if they are equal, else say so and end with 1.
expect() {
    if [[ $3 == "$2" ]]; then
        echo "as stated: $1"
        return
    fi
    printf 'CHANGED: %s\n--- stated\n%s\n--- seen\n%s\n' "$1" "$2" "$3" >&2
    exit 1
}

# packages NAME PACKAGE==VERSION …: a virtual environment NAME with these, or with these instead.
packages() {
    local venv=$FOLDER/$1
    shift
    [[ -d $venv ]] || timeout 60 "${PYTHON:-python3}" -m venv "$venv" || cannot "no venv"
    timeout 150 "$venv/bin/pip" -qq install --disable-pip-version-check "$@" || cannot "pip install $*"
}

# run_in NAME ARGUMENT …: its interpreter, for at most a minute.
run_in() {
    timeout 60 "$FOLDER/$1/bin/python" "${@:2}"
}

# debian PACKAGE=VERSION …: unpacked below $FOLDER/debian and not installed. They come out of
# unstable, from the mirror that this machine itself is set to, checked against Debian's keys.
debian() {
    local apt=$FOLDER/apt mirror
    mirror=$(cat /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null |
        sed -nE 's/^URIs: *([^ ]+).*/\1/p; s/^deb (\[[^]]*\] )?([^ ]+) .*/\2/p' | head -n 1) || true
    [[ $mirror ]] || cannot "no source of Debian packages"
    mkdir -p "$apt"/{lists,archives}/partial "$apt/debs" "$FOLDER/debian"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror unstable main" >"$apt/own.list"
    touch "$apt/status"
    local options=(-qq -o "Dir::Etc::sourcelist=$apt/own.list" -o Dir::Etc::sourceparts=-
        -o "Dir::State::lists=$apt/lists" -o "Dir::State::status=$apt/status"
        -o "Dir::Cache=$apt" -o "Dir::Cache::archives=$apt/archives"
        -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Check-Valid-Until=false)
    timeout 120 apt-get "${options[@]}" update || cannot "apt-get update"
    (cd "$apt/debs" && timeout 120 apt-get "${options[@]}" download "$@") ||
        cannot "unstable has not got $* any more"
    local deb
    for deb in "$apt"/debs/*.deb; do
        dpkg -x "$deb" "$FOLDER/debian"
    done
}

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# server COMMAND …: runs until the script ends, for 100 seconds at most.
server() {
    timeout --kill-after=5 100 "$@" >>"$FOLDER/servers.log" 2>&1 &
    PIDS+=("$!")
}

# fetch ARGUMENT …: curl, that waits for a server which is still starting.
fetch() {
    curl --silent --show-error --max-time 10 --retry 30 --retry-delay 1 --retry-connrefused --retry-max-time 40 "$@"
}

# ready URL: go on as soon as a server answers.
ready() {
    fetch --fail --output /dev/null "$1" || cannot "no answer from $1"
}

# query PORT EXPRESSION: the series of an instant query, a line each, without job and instance.
query() {
    fetch --get "http://127.0.0.1:$1/api/v1/query" --data-urlencode "query=$2" | python3 -c '
import json, sys
for series in json.load(sys.stdin)["data"]["result"]:
    labels = series["metric"]
    name = labels.pop("__name__", "")
    shown = [f"{k}={v}" for k, v in sorted(labels.items()) if k not in ("job", "instance")]
    print(name, *shown, (series.get("value") or series["histogram"])[1])' | sort
}

# query_until PORT EXPRESSION: the same, as soon as there is anything.
query_until() {
    local seen
    for _ in {1..40}; do
        seen=$(query "$@")
        [[ $seen ]] && break
        sleep 0.5
    done
    echo "$seen"
}
