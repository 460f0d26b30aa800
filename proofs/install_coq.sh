#!/bin/sh
# Coq 8.16 with its standard library, ocamlfind and Zarith: from the system's packages, where they are missing.
set -eu
there() { command -v coqc >/dev/null && command -v ocamlfind >/dev/null && ocamlfind query zarith >/dev/null 2>&1; }
there && exit 0
packages="coq ocaml-findlib libzarith-ocaml-dev"
if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    echo "proofs: installing $packages"
    apt-get update -qq && apt-get install -y -qq --no-install-recommends $packages >/dev/null
fi
there && exit 0
echo "proofs: Coq 8.16 is needed, and could not be installed from here; on Debian or Ubuntu: sudo apt-get install $packages" >&2
exit 1
