#!/bin/sh
# Makes sure the Debian packages that tvmops' demo and tests use are there: installs them as root,
# otherwise says which to install. Usage: system-packages.sh [base] [lab] [arm] [test]
set -eu

base="python3-venv g++ git openssh-client"
lab="systemd-container iproute2 openssh-server mmdebstrap zstd nftables apt-cacher-ng e2fsprogs procps debian-archive-keyring"
arm="qemu-user-static binfmt-support g++-aarch64-linux-gnu"
test="sudo openssh-server zip unzip"

wanted=""
for set in "$@"; do
    case $set in
        base) wanted="$wanted $base" ;;
        lab) wanted="$wanted $lab" ;;
        arm) wanted="$wanted $arm" ;;
        test) wanted="$wanted $test" ;;
        *) echo "system-packages: unknown set '$set'" >&2; exit 2 ;;
    esac
done

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "system-packages: this is no Debian or Ubuntu; install what corresponds to:$wanted" >&2
    exit 0
fi

missing=""
for package in $wanted; do
    status=$(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null || true)
    case $status in
        ii*) ;;
        *) missing="$missing $package" ;;
    esac
done
# A Python that is not Debian's brings its own venv.
if python3 -c 'import ensurepip, venv' 2>/dev/null; then
    missing=$(echo " $missing " | sed 's/ python3-venv / /')
fi
missing=$(echo $missing)
[ -n "$missing" ] || exit 0

if [ "$(id -u)" != 0 ]; then
    echo "Missing packages. Install them, then run this again:" >&2
    echo "    sudo apt-get install --no-install-recommends $missing" >&2
    exit 1
fi
echo "Installing Debian packages: $missing"
apt-get update -q >/dev/null
# RUNLEVEL=1 keeps the package scripts from starting sshd and apt-cacher-ng as services of this machine.
# shellcheck disable=SC2086
RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null
