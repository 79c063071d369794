#!/usr/bin/env bash
# Install what the tests need from Debian: install_on_debian.sh FOLDER (as root).
#
# A C compiler, openssl, zsh, graphviz, redis-server of this Debian, and Redis 8.0 and Valkey 8.1 of Debian 13 (trixie). On an
# older Debian those two are unpacked into FOLDER with the libraries that they need, and run through trixie's
# own loader; on trixie or later its own packages are installed. What is there is left as it is.
set -euo pipefail

# The programs (each server also under its name for checking RDB files), and what they are linked with.
packages=(
    redis-tools valkey-tools
    libatomic1 libc6 libcap2 libgcc-s1 libgcrypt20 libgpg-error0 libjemalloc2 liblz4-1 liblzf1 liblzma5
    libssl3t64 libstdc++6 libsystemd0 libzstd1 zlib1g
)

retry() {
    for pause in 5 20; do
        if "$@"; then return; fi
        echo "$1 failed; it is tried again in $pause seconds." >&2
        sleep "$pause"
    done
    "$@"
}

# Install packages of this Debian. RUNLEVEL=1 keeps them from starting a server; the tests start their own.
install() {
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    retry apt-get update -qq
    retry apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# Unpack the packages of trixie into a folder, with state of apt of its own.
unpack() {
    local folder=$1 codename=$2 file
    mkdir -p "$folder"/{parts,lists/partial,cache/archives/partial,debs,root}
    touch "$folder/status"
    # The archives and keys are those that this machine uses for its own release.
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do
        if grep -qsw "$codename" "$file"; then
            sed "s/\b$codename\b/trixie/g" "$file" >"$folder/parts/${file##*/}"
        fi
    done
    if [ -z "$(ls "$folder/parts")" ]; then
        echo "No file of /etc/apt/sources.list* names $codename, so the archive is not known." >&2
        return 1
    fi
    local apt=(
        apt-get -qq -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$folder/parts"
        -o "Dir::State=$folder" -o "Dir::State::lists=$folder/lists" -o "Dir::State::status=$folder/status"
        -o "Dir::Cache=$folder/cache" -o Debug::NoLocking=1 -o APT::Sandbox::User=root
    )
    retry "${apt[@]}" -o APT::Update::Error-Mode=any update
    (cd "$folder/debs" && retry "${apt[@]}" download "${packages[@]}")
    for file in "$folder"/debs/*.deb; do
        dpkg-deb -x "$file" "$folder/root"
    done
    rm -r "$folder"/{parts,lists,cache,debs,status}
}

# Write a script that runs a program of the unpacked folder through its own loader.
wrap() {
    local root=$1 program=$2 script=$3 loader
    loader=$(echo "$root"/usr/lib/*/ld-linux-*.so.*)
    printf '#!/bin/sh\nexec %q --library-path %q %q "$@"\n' \
        "$loader" "${loader%/*}" "$root/usr/bin/$program" >"$script"
    chmod +x "$script"
}

mkdir -p "$1"
folder=$(realpath "$1")
. /etc/os-release

missing=()
while read -r program needed; do
    # shellcheck disable=SC2206  # some need two packages
    command -v "$program" >/dev/null || missing+=($needed)
done <<'END'
redis-server redis-server
openssl openssl
zsh zsh
dot graphviz
chromium chromium
cc gcc libc6-dev
END
[ "${VERSION_ID:-99}" -lt 13 ] || command -v valkey-server >/dev/null || missing+=(valkey-server)
[ ${#missing[@]} = 0 ] || install "${missing[@]}"
if [ "${VERSION_ID:-99}" -lt 13 ] && [ ! -x "$folder/valkey-server" ]; then
    rm -rf "$folder/trixie"
    unpack "$folder/trixie" "$VERSION_CODENAME"
    root=$folder/trixie/root
    for family in redis valkey; do
        # The packages of the servers hold only links to the program that checks files.
        cp "$root/usr/bin/$family-check-rdb" "$root/usr/bin/$family-server"
        for program in check-rdb server; do
            wrap "$root" "$family-$program" "$folder/$family-$program"
        done
        "$folder/$family-server" --version
    done
fi
