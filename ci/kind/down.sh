#!/usr/bin/env bash
# Removes what ci/kind/up.sh has made. CLUSTER names the cluster.
set -euo pipefail
exec kind delete cluster --name "${CLUSTER:-mnp-nft-bridge}"
