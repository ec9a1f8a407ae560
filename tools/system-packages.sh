#!/bin/sh
# Makes sure the Debian packages that tvmops' demo and tests use are there: installs them as root,
# otherwise says which to install. Usage: system-packages.sh [base] [lab] [arm] [test]
set -eu

base="python3-venv g++ git openssh-client ca-certificates"
lab="systemd-container iproute2 openssh-server mmdebstrap zstd nftables apt-cacher-ng e2fsprogs debian-archive-keyring"
arm="qemu-user-static binfmt-support g++-aarch64-linux-gnu"
# python3: other users, whom tests log in as, cannot read an interpreter in a home folder.
# python3-apt: Ansible's package_facts, which ours is compared with, needs it.
# cmake and what follows: builds, also for 32-bit Arm.
test="python3 python3-apt sudo openssh-server make cmake ninja-build ccache g++-arm-linux-gnueabihf"

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

installed=$(dpkg-query -W -f='${db:Status-Abbrev} ${Package}\n' | sed -n 's/^ii *//p')
missing=""
for package in $wanted; do
    echo "$installed" | grep -qxF -e "$package" && continue
    case " $missing " in *" $package "*) continue ;; esac
    # A Python that is not Debian's brings its own venv.
    [ "$package" = python3-venv ] && "${PYTHON:-python3}" -c 'import ensurepip, venv' 2>/dev/null && continue
    missing="${missing:+$missing }$package"
done
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
