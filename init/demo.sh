#!/bin/bash
# `make run`: Holdline at work on this machine. Installs what is missing, builds, starts a private Prosody with two
# accounts, starts Holdline with conf/demo.yaml in front of it, proves the line, and runs until Ctrl-C.
#
# Environment: B (build directory, default build), MAKE, HOLDLINE_DEMO_ONCE=1 (end by itself after the proof).
set -euo pipefail
umask 022
cd "$(dirname "$0")/.."

domain=demo.localhost
prosody_port=15222
url=http://127.0.0.1:5280/http-bind
status=http://127.0.0.1:5290/status
accounts="alice:wonderland bob:builder"
dir=$PWD/build/demo
build=${B:-build}

# On a terminal everything below runs in a foreground process group of its own, so that Ctrl-C reaches this script and
# not the make that called it; make then sees an orderly end.
if [ -t 0 ] && [ -z "${HOLDLINE_DEMO_INNER:-}" ]; then
    set -m
    HOLDLINE_DEMO_INNER=1 setpriv --pdeathsig TERM "$0"
    exit $?
fi

say()
{
    printf 'run: %s\n' "$*"
}

die()
{
    printf 'run: %s\n' "$*" >&2
    exit 1
}

# ---- the end: whatever way it comes, what was started here is ended, by its id, and nothing else ----

holdline=
prosody=
run_dir=

# end NAME PID: SIGTERM, ten seconds, SIGKILL.
end()
{
    [ -n "$2" ] && kill -0 "$2" 2>/dev/null || return 0
    kill -TERM "$2" 2>/dev/null || return 0
    for _ in $(seq 100); do
        kill -0 "$2" 2>/dev/null || break
        sleep 0.1
    done
    if kill -KILL "$2" 2>/dev/null; then
        say "$1 did not end within 10 s and was killed"
    fi
    wait "$2" 2>/dev/null || :
}

finish()
{
    code=$?
    trap - EXIT
    trap '' INT TERM HUP
    end Holdline "$holdline"
    end Prosody "$prosody"
    [ -z "$run_dir" ] || rm -rf "$run_dir"
    [ -z "$holdline$prosody" ] || say "ended"
    exit "$code"
}

trap finish EXIT
trap 'echo; exit 0' INT TERM HUP

# tail_of NAME FILE: why something did not start.
tail_of()
{
    printf 'run: %s did not start or has ended; the end of %s:\n' "$1" "$2" >&2
    tail -n 15 "$2" >&2 || :
    exit 1
}

# listening PORT: true when somebody accepts there on 127.0.0.1.
listening()
{
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# wait_for NAME PID FILE COMMAND...: until COMMAND is true; at most 20 s, and not longer than PID lives.
wait_for()
{
    name=$1 pid=$2 file=$3
    shift 3
    for _ in $(seq 200); do
        kill -0 "$pid" 2>/dev/null || tail_of "$name" "$file"
        if "$@"; then
            return 0
        fi
        sleep 0.1
    done
    tail_of "$name" "$file"
}

healthy()
{
    /usr/bin/python3 -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=2)' \
        "${status%/status}/healthz" 2>/dev/null
}

# ---- one at a time ----

mkdir -p "$dir" 2>/dev/null || :
[ -w "$dir" ] || die "$dir cannot be written; it may belong to another user: remove it and run again"
exec 9>>"$dir/lock"
flock -n 9 || die "it is running already (process $(cat "$dir/pid" 2>/dev/null || echo unknown)); end that one first"
echo $$ >"$dir/pid"
for port in 5280 5290 $prosody_port; do
    ! listening "$port" || die "port $port of 127.0.0.1 is in use; conf/demo.yaml needs it"
done

# ---- what it needs ----

init/deps.sh build run
${MAKE:-make} --no-print-directory B="$build" all 9>&-
[ -x "$build/holdline" ] || die "$build/holdline was not built"

# ---- the server ----

mkdir -p "$dir/prosody/data/${domain//./%2e}/accounts"
if [ ! -e "$dir/prosody/server.key" ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=$domain" \
        -addext "subjectAltName=DNS:$domain" -keyout "$dir/prosody/server.key.new" -out "$dir/prosody/server.pem" \
        2>"$dir/openssl.log" || tail_of openssl "$dir/openssl.log"
    mv "$dir/prosody/server.key.new" "$dir/prosody/server.key"
fi
for account in $accounts; do
    printf 'return { ["password"] = "%s" };\n' "${account#*:}" \
        >"$dir/prosody/data/${domain//./%2e}/accounts/${account%:*}.dat"
done
sed -e "s|@dir@|$dir/prosody|g" -e "s|@port@|$prosody_port|" -e "s|@domain@|$domain|" \
    init/demo/prosody.cfg.lua.in >"$dir/prosody/prosody.cfg.lua"

# Each server in a session of its own, so that Ctrl-C reaches this script only; the kernel ends it if the script is killed.
setsid setpriv --pdeathsig KILL prosody -F --config "$dir/prosody/prosody.cfg.lua" \
    >"$dir/prosody.out" 2>&1 </dev/null 9>&- &
prosody=$!
wait_for Prosody $prosody "$dir/prosody.out" listening $prosody_port

# ---- Holdline ----

# A directory that the workers' user can reach, wherever this tree lies.
run_dir=$(mktemp -d "${TMPDIR:-/tmp}/holdline-demo-XXXXXX")
chmod 755 "$run_dir"
cp "$dir/prosody/server.pem" "$run_dir/"
sed "s|/run/holdline-demo|$run_dir|g" conf/demo.yaml >"$dir/demo.yaml"
setsid setpriv --pdeathsig TERM "$build/holdline" -c "$dir/demo.yaml" >"$dir/holdline.log" 2>&1 </dev/null 9>&- &
holdline=$!
wait_for Holdline $holdline "$dir/holdline.log" healthy

first=${accounts%% *}
proof=$(/usr/bin/python3 init/demo/prove.py $url "${first%:*}@$domain" "${first#*:}") || tail_of Holdline "$dir/holdline.log"
say "proved: $proof"

cat <<END

    BOSH       $url            (open it: a page that says so)
    WebSocket  ws://127.0.0.1:5280/xmpp-websocket   (the same port)
    status     $status
    accounts   alice@$domain, password wonderland
               bob@$domain, password builder
    logs       build/demo/holdline.log, build/demo/prosody/prosody.log
    stop       Ctrl-C

END

if [ -n "${HOLDLINE_DEMO_ONCE:-}" ]; then
    exit 0
fi
# Until a signal comes, or one of the two ends.
gone=
wait -n -p gone $holdline $prosody || :
[ "$gone" != "$holdline" ] || tail_of Holdline "$dir/holdline.log"
tail_of Prosody "$dir/prosody/prosody.log"
