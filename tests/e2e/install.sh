#!/bin/sh
# Installs what package-lock.json names into node_modules beside it, unless that has been done; one at a time.
set -eu
cd "$(dirname "$0")"
exec 9<package-lock.json
flock 9
done=node_modules/.installed
if ! cmp -s package-lock.json "$done"; then
    npm ci --no-audit --no-fund --loglevel=error
    cp package-lock.json "$done"
fi
