#!/bin/sh
# Installs the Debian packages that Holdline's build, its demo and its tests need, and says which were missing.
#
#   init/deps.sh [-n] [build] [run] [test] [all]
#
#   build  compiler and libraries                   (make)
#   run    a server for `make run`
#   test   what `make check`, `make lint`, `make asan` and `make fuzz` use beyond that
#          (and the npm packages of tests/e2e/package-lock.json)
#   all    the three of them (the default)
#   -n     only say what is missing; exit status 1 when something is
#
# Needs root, or sudo, only when something is missing. No service is started: a server that comes with a package is
# left stopped and switched off, since the demo and the tests start private copies of their own.
set -eu

# A word "package" is wanted as that package; "package:command" is met by the command from wherever it comes.
build="gcc make pkg-config:pkg-config libc6-dev
    libmicrohttpd-dev libexpat1-dev libgnutls28-dev libev-dev libc-ares-dev libyaml-dev zlib1g-dev
    libidn2-dev libunistring-dev libjansson-dev uthash-dev libseccomp-dev libcmocka-dev"
run="prosody python3:/usr/bin/python3 openssl"
test="prosody ejabberd openssl dnsmasq-base
    python3:/usr/bin/python3 python3-pytest python3-pytest-xdist nodejs:node npm:npm chromium
    valgrind clang clang-format clang-tidy clang-tools libclang-rt-14-dev cppcheck universal-ctags:ctags"

# Services that these packages bring, to be left switched off when they arrive through us.
services="prosody ejabberd epmd epmd.socket"

say()
{
    printf 'deps: %s\n' "$*"
}

die()
{
    printf 'deps: %s\n' "$*" >&2
    exit 1
}

# missing WORDS: prints the packages of WORDS that are not there.
missing()
{
    names=
    for word in $1; do
        case $word in
        *:*) command -v "${word#*:}" >/dev/null 2>&1 || printf '%s\n' "${word%%:*}" ;;
        *) names="$names $word" ;;
        esac
    done
    [ -n "$names" ] || return 0
    # Names unknown to dpkg go to stderr only, so those not reported as installed are the missing ones.
    # shellcheck disable=SC2086
    have=" $(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $names 2>/dev/null |
        awk '$2 == "installed" { print $1 }' | tr '\n' ' ')"
    for name in $names; do
        case $have in
        *" $name "*) ;;
        *) printf '%s\n' "$name" ;;
        esac
    done
}

# Packages start their services unless this file forbids it. Ours stays only during the installation.
policy=/usr/sbin/policy-rc.d
policy_is_ours=

forbid_services()
{
    [ -e $policy ] && return 0
    policy_is_ours=yes
    trap allow_services EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    printf '#!/bin/sh\n# Written by init/deps.sh for the time of one installation.\nexit 101\n' |
        $sudo tee $policy >/dev/null
    $sudo chmod 755 $policy
}

allow_services()
{
    [ -n "$policy_is_ours" ] && $sudo rm -f $policy
    policy_is_ours=
}

# had SERVICE: true when its unit or script was there before the installation.
had()
{
    [ -e "/lib/systemd/system/${1%.socket}.service" ] || [ -e "/etc/init.d/$1" ]
}

switch_off()
{
    for name in $new_services; do
        had "$name" || continue
        if [ -d /run/systemd/system ]; then
            $sudo systemctl disable --now "$name" >/dev/null 2>&1 && say "switched off: $name (system service)"
        elif [ -e "/etc/init.d/$name" ]; then
            $sudo "/etc/init.d/$name" stop >/dev/null 2>&1 && $sudo update-rc.d "$name" disable >/dev/null 2>&1 &&
                say "switched off: $name (system service)"
        fi
    done
    return 0
}

only_say=
words=
groups=
for arg; do
    case $arg in
    -n) only_say=yes ;;
    build) words="$words $build" groups="$groups $arg" ;;
    run) words="$words $run" groups="$groups $arg" ;;
    test) words="$words $test" groups="$groups $arg" ;;
    all) words="$words $build $run $test" groups="$groups $arg" ;;
    *) die "unknown word '$arg'; usage: init/deps.sh [-n] [build] [run] [test] [all]" ;;
    esac
done
if [ -z "$groups" ]; then
    words="$build $run $test"
    groups=" all"
fi

command -v dpkg-query >/dev/null 2>&1 || die "this is not Debian (no dpkg-query); see init/deps.sh for the list"

# The npm packages are installed by the user who calls, into the tree.
npm_packages()
{
    case $groups in
    *test* | *all*) "$(dirname "$0")/../tests/e2e/install.sh" || die "the npm packages could not be installed" ;;
    esac
}

want=$(missing "$words" | sort -u | tr '\n' ' ')
if [ -z "$want" ]; then
    [ -n "$only_say" ] || npm_packages
    say "nothing missing for$groups"
    exit 0
fi
say "missing for$groups: $want"
[ -z "$only_say" ] || exit 1

sudo=
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || die "not root and no sudo: as root, run  apt-get install $want"
    sudo=sudo
fi
new_services=
for name in $services; do
    had "$name" || new_services="$new_services $name"
done
had_epmd=$(command -v epmd || :)
forbid_services

apt="env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=600"
# shellcheck disable=SC2086
if ! $sudo $apt -y -s --no-install-recommends install $want >/dev/null 2>&1; then
    say "reading the package lists"
    $sudo $apt update
fi
# shellcheck disable=SC2086
if ! $sudo $apt -y --no-install-recommends install $want; then
    # The lists may name versions that the mirror has dropped since they were read.
    say "reading the package lists again"
    $sudo $apt update
    # shellcheck disable=SC2086
    $sudo $apt -y --no-install-recommends install $want
fi
allow_services
switch_off
# ejabberd's package runs the Erlang runtime once, which leaves its name server behind (it ends only if nobody uses it).
if [ -z "$had_epmd" ] && command -v epmd >/dev/null 2>&1; then
    epmd -kill >/dev/null 2>&1 || :
fi

still=$(missing "$words" | sort -u | tr '\n' ' ')
[ -z "$still" ] || die "still missing: $still"
say "installed: $want"
npm_packages
