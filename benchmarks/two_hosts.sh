#!/usr/bin/env bash
# Two hosts on one machine: network namespaces with a cable between them. As root, on Linux:
#     benchmarks/two_hosts.sh python tests/oracles/ranked.py run.safetensors 2
# runs the command by one rank in each, over TCP, and says how many bytes went over the cable.
set -euo pipefail

# mpiexec starts what it takes for ssh as `enter HOST COMMAND`, here this script itself.
if [ "${1:-}" = enter ]; then
    shift
    while [ "${1#-}" != "$1" ]; do shift; done
    host=$1
    shift
    exec ip netns exec "minidiff-${host##*.}" sh -c "$*"
fi

clean() {
    ip netns del minidiff-1 2>/dev/null || true
    ip netns del minidiff-2 2>/dev/null || true
}
trap clean EXIT
clean
for host in 1 2; do
    ip netns add "minidiff-$host"
    ip -n "minidiff-$host" link set lo up
done
ip link add cable netns minidiff-1 type veth peer name cable netns minidiff-2
for host in 1 2; do
    ip -n "minidiff-$host" addr add "10.99.0.$host/24" dev cable
    ip -n "minidiff-$host" link set cable up
done

launcher=$(mktemp)
printf '#!/bin/sh\nexec "%s" enter "$@"\n' "$(realpath "$0")" >"$launcher"
chmod +x "$launcher"
# Both have one host name, so MPICH must be told that they share no memory.
ip netns exec minidiff-1 mpiexec -n 2 -hosts 10.99.0.1,10.99.0.2 \
    -launcher ssh -launcher-exec "$launcher" \
    -genv MPIR_CVAR_NOLOCAL 1 -genv UCX_TLS tcp "$@"
rm -f "$launcher"
ip -n minidiff-1 -s link show cable
