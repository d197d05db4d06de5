#!/bin/sh
# Fetches the engine library named in libchdb.lock into the cache directory, once per machine, and prints its path as the
# last line of standard output. Safe to run at the same time in several places.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
lock=${HEADGATE_ENGINE_LOCK:-$here/libchdb.lock}

say() { printf 'engine-lib: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
value() { sed -n "s/^$1=//p" "$lock"; }

package=$(value package)
version=$(value version)
package_sha512=$(value package_sha512)
library_sha512=$(value library_sha512)

cache=${HEADGATE_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:?HOME is not set: name a directory in HEADGATE_CACHE_DIR}/.cache}/headgate}
dir=$cache/libchdb/$version
lib=$dir/libchdb.so
stamp=$dir/libchdb.stamp

# size_time is what the stamp says of a checked file, so that a later run need not read half a gigabyte again.
size_time() { stat -c '%s %Y' "$1"; }
checked() { [ -f "$lib" ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$library_sha512 $(size_time "$lib")" ]; }
sha512() { sha512sum "$1" | cut -d ' ' -f 1; }

if checked; then
	printf '%s\n' "$lib"
	exit 0
fi

[ "$(uname -s) $(uname -m)" = "Linux x86_64" ] ||
	die "the embedded engine exists for Linux on x86-64 only, this is $(uname -s) on $(uname -m);" \
		"run headgate with --clickhouse and a ClickHouse server instead"

mkdir -p "$dir" || die "cannot make $dir; name a directory in HEADGATE_CACHE_DIR"

# accept puts a checked library in place. rename(2) is atomic: another run sees the old file, none, or the whole new one.
accept() {
	chmod 0755 "$1"
	mv -f "$1" "$lib"
	printf '%s\n' "$library_sha512 $(size_time "$lib")" >"$stamp.$$"
	mv -f "$stamp.$$" "$stamp"
	say "ready: $lib"
	printf '%s\n' "$lib"
}

if [ -f "$lib" ]; then
	say "found $lib, checking it"
	if [ "$(sha512 "$lib")" = "$library_sha512" ]; then
		printf '%s\n' "$library_sha512 $(size_time "$lib")" >"$stamp.$$"
		mv -f "$stamp.$$" "$stamp"
		printf '%s\n' "$lib"
		exit 0
	fi
	say "it is not the file that libchdb.lock names; fetching it again"
fi

by_hand="set npm's proxy or registry (npm config set proxy …, npm config set registry …) and run this again,
engine-lib: or put the file libchdb.so of $package $version at $lib,
engine-lib: or start headgate with --engine-lib FILE, or with --clickhouse and a ClickHouse server"

command -v npm >/dev/null 2>&1 || die "npm is needed to fetch $package and was not found;
engine-lib: install Node.js with npm and run this again, or put the file libchdb.so of $package $version at $lib,
engine-lib: or start headgate with --engine-lib FILE, or with --clickhouse and a ClickHouse server"

# What a killed run left behind.
find "$dir" -maxdepth 1 -name 'fetch.*' -mmin +240 -exec rm -rf {} + 2>/dev/null || :
tmp=$(mktemp -d "$dir/fetch.XXXXXX") || die "cannot write to $dir; name a directory in HEADGATE_CACHE_DIR"
beat=
trap '[ -z "$beat" ] || kill "$beat" 2>/dev/null; rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "fetching $package $version with npm: about 180 MB to load, 570 MB on disk in $cache; done once per machine"
if [ -t 2 ]; then progress=true; else progress=false; fi
(
	s=0
	while sleep 10 >/dev/null 2>&1; do # a sleep left over must hold nobody's output open
		s=$((s + 10))
		say "still loading, $s s"
	done
) >/dev/null &
beat=$!
(cd "$tmp" && npm pack "$package@$version" --ignore-scripts --progress=$progress --loglevel=warn >pack.out) ||
	die "npm could not fetch $package@$version; $by_hand"
kill "$beat" 2>/dev/null || :
beat=
tarball=$(find "$tmp" -name '*.tgz' | head -n 1)
[ -n "$tarball" ] || die "npm fetched $package@$version but left no package; $by_hand"

say "checking $(($(stat -c %s "$tarball") / 1000000)) MB"
got=$(sha512 "$tarball")
[ "$got" = "$package_sha512" ] || die "REFUSED: the package is not the one that libchdb.lock names; it was deleted
engine-lib: sha512 is   $got
engine-lib: and must be $package_sha512"

say "unpacking libchdb.so"
tar -xzf "$tarball" -C "$tmp" package/libchdb.so || die "the package has no libchdb.so"
rm -f "$tarball"
got=$(sha512 "$tmp/package/libchdb.so")
[ "$got" = "$library_sha512" ] || die "REFUSED: libchdb.so is not the file that libchdb.lock names; it was deleted
engine-lib: sha512 is   $got
engine-lib: and must be $library_sha512"

accept "$tmp/package/libchdb.so"
