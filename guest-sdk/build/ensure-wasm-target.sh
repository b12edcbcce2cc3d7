#!/bin/sh
# Finds or makes a rustc that can compile vats to WebAssembly.
#
# On stdout: nothing when plain `rustc` will do, else the one line RUSTC=<path>. So this builds a vat anywhere:
#
#     env $(guest-sdk/build/ensure-wasm-target.sh) cargo build --target wasm32-unknown-unknown --target-dir target/guests
#
# It tries, in this order:
#   present   rustc already has a standard library for the target;
#   cached    an earlier run of this script made one;
#   rustup    `rustup target add`, the way of an ordinary machine with network access;
#   debian    where apt-get works: Debian's rustc-web packages, unpacked into a private cache (the system is not
#             touched, root is not needed), and a standard library compiled from the matching rust-web-src.
# If all fail it exits with 1 and says why, and what to do.
#
# A compiler and its standard library must be of one version, which is why the last way brings both. Guests and
# host need not share a compiler; they must not share a target directory.
#
# Options                                             or environment
#   --target T     may be given several times          (default: wasm32-unknown-unknown; also: wasm32-wasip1)
#   --cache DIR    where the private toolchain lives   WASM_TOOLCHAIN_DIR (default: ~/.cache/wasm-toolchain)
#   --no-rustup    leave rustup alone                  WASM_TARGET_NO_RUSTUP=1
#   --no-fallback  no Debian packages                  WASM_TARGET_NO_FALLBACK=1
#   --verbose      show the log while it grows
set -eu
export LC_ALL=C

oldest_rust=1.95 # the workspace's rust-version: an older compiler refuses our crates

targets=
cache=${WASM_TOOLCHAIN_DIR:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/wasm-toolchain}
no_rustup=${WASM_TARGET_NO_RUSTUP:-}
no_fallback=${WASM_TARGET_NO_FALLBACK:-}
verbose=

note() { echo "ensure-wasm-target: $*" >&2; }

while [ $# -gt 0 ]; do
    case $1 in
    --target | --cache)
        [ $# -ge 2 ] || { note "$1 needs a value"; exit 2; }
        if [ "$1" = --target ]; then targets="$targets $2"; else cache=$2; fi
        shift ;;
    --no-rustup) no_rustup=1 ;;
    --no-fallback) no_fallback=1 ;;
    --verbose) verbose=1 ;;
    *) note "unknown argument: $1"; exit 2 ;;
    esac
    shift
done
targets=${targets:- wasm32-unknown-unknown}
for target in $targets; do
    case $target in
    wasm32-unknown-unknown | wasm32-wasip1) ;;
    *) note "no vat is built for $target (wasm32-unknown-unknown and wasm32-wasip1 are known)"; exit 2 ;;
    esac
done
case $cache in /*) ;; *) cache=$PWD/$cache ;; esac
cached_rustc=$cache/bin/rustc
log=$cache/log

# has_std RUSTC TARGET: does this compiler hold a standard library for the target?
has_std() {
    libdir=$("$1" --print target-libdir --target "$2" 2>/dev/null) || return 1
    ls "$libdir"/libcore-*.rlib "$libdir"/libstd-*.rlib >/dev/null 2>&1
}
has_all() { for wanted in $targets; do has_std "$1" "$wanted" || return 1; done; }
use_cached() { echo "RUSTC=$cached_rustc"; exit 0; }

# ---- present, cached -------------------------------------------------------------------------------------------
# The cache comes before rustup: without a network rustup may take its time to say so.

if has_all "${RUSTC:-rustc}"; then exit 0; fi
if [ -z "$no_fallback" ] && [ -x "$cached_rustc" ] && has_all "$cached_rustc"; then use_cached; fi

# ---- rustup ----------------------------------------------------------------------------------------------------

rustup_said=
if [ -z "$no_rustup" ] && [ -z "${RUSTC:-}" ] && command -v rustup >/dev/null 2>&1; then
    patience=
    if command -v timeout >/dev/null 2>&1; then patience='timeout 120'; fi
    # shellcheck disable=SC2086 # both are lists of words
    if rustup_said=$($patience rustup target add $targets 2>&1 </dev/null) && has_all rustc; then exit 0; fi
fi

# ---- debian ----------------------------------------------------------------------------------------------------

give_up() {
    note "no Rust standard library for$targets: $1"
    if [ -n "$rustup_said" ]; then
        reason=$(printf '%s\n' "$rustup_said" | grep '^error' | head -n 1)
        note "  rustup: ${reason:-$(printf '%s\n' "$rustup_said" | tail -n 1)}"
    fi
    if [ -s "$log" ]; then
        note "  the log is $log; its last lines:"
        tail -n 8 "$log" | sed 's/^/      /' >&2
    fi
    note "  on a machine with network access, run: rustup target add$targets"
    exit 1
}

[ -z "$no_fallback" ] || give_up "it is not installed, and the Debian packages are switched off"
for tool in apt-get apt-cache dpkg dpkg-deb tar cargo; do
    command -v $tool >/dev/null 2>&1 || give_up "it is not installed, and the Debian packages need $tool"
done
mkdir -p "$cache" || give_up "the cache $cache cannot be made"
if command -v flock >/dev/null 2>&1; then
    exec 9>"$cache/lock"
    flock 9
    if [ -x "$cached_rustc" ] && has_all "$cached_rustc"; then use_cached; fi # made while we waited
fi

: >"$log"
if [ -n "$verbose" ]; then
    tail -f "$log" >&2 &
    tail_pid=$!
    trap 'kill $tail_pid 2>/dev/null || :' EXIT
fi
logged() { echo "+ $*" >>"$log"; "$@" >>"$log" 2>&1 </dev/null; }

scratch=$cache/scratch   # removed at the end; everything below it may be half done
debs=$scratch/debs       # packages on their way in
root=$scratch/root       # the new toolchain, moved into place when it works
rm -rf "$scratch"
mkdir -p "$debs" "$root/bin"

# apt reads the system's package lists; where those are missing or old, a private copy. Options are a list of words.
apt_options="-o APT::Sandbox::User=root"
fresh_lists() {
    mkdir -p "$cache/apt/lists/partial" "$cache/apt/archives/partial"
    apt_options="$apt_options -o Dir::State::Lists=$cache/apt/lists -o Dir::Cache=$cache/apt -o Debug::NoLocking=1"
    # shellcheck disable=SC2086
    logged apt-get $apt_options update
}
# shellcheck disable=SC2086
newest() { apt-cache $apt_options policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p' | grep -v '(none)'; }
# depends PACKAGE[=VERSION] PATTERN: the names in its Depends field that match
# shellcheck disable=SC2086
depends() {
    apt-cache $apt_options show "$1" 2>/dev/null | sed -n '/^Depends: /{s///p;q;}' | tr ',|' '\n\n' |
        sed 's/^ *//; s/[ :].*//' | grep -E "^($2)\$"
}
# shellcheck disable=SC2086
download() { (cd "$debs" && logged apt-get $apt_options -q download "$@"); }
unpack() { # everything downloaded, without what takes space and is not needed
    for deb in "$debs"/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$root" --wildcards --no-wildcards-match-slash \
            --exclude='./usr/share' --exclude='./usr/libexec' --exclude='./usr/include' --exclude='./usr/bin/rustdoc' \
            --exclude='./usr/src/rustc-*/src' --exclude='./usr/src/rustc-*/compiler' >>"$log" 2>&1 || return 1
        rm -f "$deb"
    done
}

new_enough() { version=$(newest rustc-web) && dpkg --compare-versions "$version" ge "$oldest_rust"; }
new_enough || { fresh_lists && new_enough; } ||
    give_up "apt has ${version:-no} rustc-web; $oldest_rust or later is needed"
note "preparing Debian's Rust $version for$targets in $cache, once (about 140 MB to download, one to three minutes)"

fetch_toolchain() {
    std=$(depends "libstd-rust-web-dev=$version" 'libstd-rust-web-[0-9.]+' | head -n 1)
    llvm=$(depends "$std=$version" 'libllvm[0-9]+' | head -n 1)
    [ -n "$std" ] && [ -n "$llvm" ] || return 1
    libc=
    case $targets in *wasip1*) libc=wasi-libc ;; esac
    download "rustc-web=$version" "libstd-rust-web-dev=$version" "$std=$version" "rust-web-src=$version" \
        "$llvm" "lld-${llvm#libllvm}" $libc
}
fetch_toolchain || { # the lists name a file that the archive has replaced meanwhile
    fresh_lists && new_enough && fetch_toolchain
} || give_up "the download failed"
unpack || give_up "a package cannot be unpacked"
library=$(ls -d "$root"/usr/src/rustc-*/library 2>/dev/null) || give_up "rust-web-src has no library folder"

# Debian's rustc looks for its shared libraries where the packages would have put them.
arch=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || gcc -print-multiarch 2>/dev/null || echo "$(uname -m)-linux-gnu")
cat >"$root/bin/rustc" <<WRAPPER
#!/bin/sh
# Finds its own folder, so that the cache may be moved.
here=\$(cd "\$(dirname "\$(readlink -f "\$0")")/.." && pwd)
LD_LIBRARY_PATH="\$here/usr/lib/$arch\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" exec "\$here/usr/bin/rustc" "\$@"
WRAPPER
chmod +x "$root/bin/rustc"

# complete PROGRAM PACKAGE: a bare image may lack libraries that PACKAGE depends on (libedit, libxml2 …); bring them.
complete() {
    LD_LIBRARY_PATH="$root/usr/lib/$arch" ldd "$1" 2>/dev/null | grep -q 'not found' || return 0
    # shellcheck disable=SC2046,SC2086
    more=$(apt-cache $apt_options depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
        --no-replaces --no-enhances $(depends "$2" 'lib.*') 2>/dev/null | grep '^lib' | sort -u |
        grep -v -E '^(libc6|libgcc-s1|libcrypt1|libstdc\+\+6|libstd-rust.*|libllvm.*)$|-dev$')
    # shellcheck disable=SC2086
    download $more && unpack || return 1
    if [ -d "$root/lib/$arch" ]; then cp -a "$root/lib/$arch/." "$root/usr/lib/$arch/"; fi
    ! LD_LIBRARY_PATH="$root/usr/lib/$arch" ldd "$1" | grep 'not found' >>"$log"
}
complete "$root/usr/bin/rustc" "$llvm" || give_up "shared libraries are missing"
logged "$root/bin/rustc" -vV || give_up "Debian's rustc does not run here"
host=$("$root/bin/rustc" -vV | sed -n 's/^host: //p')
commit=$("$root/bin/rustc" -vV | sed -n 's/^commit-hash: //p')

# rustc finds its linker beside its own libraries, under this name.
mkdir -p "$root/usr/lib/rustlib/$host/bin"
rm -f "$root/usr/lib/rustlib/$host/bin/rust-lld"
mv "$(ls -d "$root"/usr/lib/llvm-*/bin/lld)" "$root/usr/lib/rustlib/$host/bin/rust-lld"

# The standard library, as Rust's own build makes it: package `sysroot`, profile `dist`. Its dependencies are vendored
# beside it, so that neither a registry nor anything in CARGO_HOME is read.
cat >"$scratch/vendored.toml" <<CONFIG
[source.crates-io]
replace-with = "vendored"
[source.vendored]
directory = "$library/vendor"
CONFIG
target_args=
for target in $targets; do target_args="$target_args --target $target"; done
build_std() { # build_std CARGO, with nothing inherited from an outer cargo
    # shellcheck disable=SC2046,SC2086
    env $(env | sed -n 's/^\(CARGO[A-Z0-9_]*\|RUSTC[A-Z0-9_]*\|RUSTFLAGS\|MAKEFLAGS\|RUSTUP_TOOLCHAIN\)=.*/-u \1/p') \
        CARGO_HOME="$scratch/cargo-home" CARGO_PROFILE_DIST_DEBUG=0 __CARGO_DEFAULT_LIB_METADATA=sysroot \
        RUSTC="$root/bin/rustc" RUSTC_BOOTSTRAP=1 LD_LIBRARY_PATH="$root/usr/lib/$arch" \
        RUSTFLAGS="-Zforce-unstable-if-unmarked --remap-path-prefix=$library=/rustc/$commit/library" \
        "$1" build --quiet -Zavoid-dev-deps --offline --config "$scratch/vendored.toml" \
        --manifest-path "$library/sysroot/Cargo.toml" --profile dist $target_args --target-dir "$scratch/target" \
        >>"$log" 2>&1 </dev/null
}
cargo=cargo
if command -v rustup >/dev/null 2>&1; then cargo=$(rustup which cargo 2>/dev/null) || cargo=cargo; fi
echo "+ $cargo build the standard library for$targets" >>"$log"
build_std "$cargo" || { # too old for the library's manifests, perhaps: the cargo of the same release
    echo "+ again, with Debian's cargo" >>"$log"
    download "cargo-web=$version" && unpack && complete "$root/usr/bin/cargo" cargo-web && build_std "$root/usr/bin/cargo"
} || give_up "the standard library does not build"

for target in $targets; do
    libdir=$root/usr/lib/rustlib/$target/lib
    mkdir -p "$libdir"
    cp "$scratch/target/$target/dist/deps/"*.rlib "$libdir/"
    if [ "$target" = wasm32-wasip1 ]; then
        mkdir -p "$libdir/self-contained"
        for object in crt1-command.o crt1-reactor.o libc.a; do
            cp "$root/usr/lib/wasm32-wasi/$object" "$libdir/self-contained/" || give_up "wasi-libc lacks $object"
        done
    fi
done
has_all "$root/bin/rustc" || give_up "it was built, but rustc does not see it"

# Into place: a target made by an earlier run with the same compiler is kept, everything else replaced.
rm -rf "$root/usr/src" "$root/usr/lib/rustlib/src" "$root/usr/lib/wasm32-wasi" "$root/usr/lib"/llvm-* "$root/usr/bin/cargo" \
    "$root/usr/bin"/lld-* "$root/usr/bin"/rust-* "$root/lib"
if [ -x "$cached_rustc" ] && [ "$("$cached_rustc" -vV 2>/dev/null)" = "$("$root/bin/rustc" -vV)" ]; then
    for made in "$cache"/usr/lib/rustlib/wasm32-*; do
        if [ -d "$made" ] && [ ! -e "$root/usr/lib/rustlib/${made##*/}" ]; then mv "$made" "$root/usr/lib/rustlib/"; fi
    done
fi
rm -rf "$cache/bin" "$cache/usr"
mv "$root/usr" "$cache/usr"
mv "$root/bin" "$cache/bin"
rm -rf "$scratch" "$cache/apt"
note "done: $("$cached_rustc" -V), $(du -sh "$cache" | cut -f1) in $cache"
use_cached
