#!/usr/bin/env bash
# A kind cluster with Multus, the bridge plugin and the agents, from the image that `cargo ci image` has built.
#
#   ci/kind/up.sh
#
# Needs docker, kind and kubectl. CLUSTER names the cluster, MULTUS the release of Multus.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cluster="${CLUSTER:-mnp-nft-bridge}"
multus="${MULTUS:-v4.2.2}"

for program in docker kind kubectl; do
  command -v "$program" > /dev/null || { echo "error: $program is not installed" >&2; exit 2; }
done
images=(target/image/mnp-nft-bridge-*.oci.tar)
if [[ ! -f "${images[0]}" || ${#images[@]} -gt 1 ]]; then
  echo "error: there must be one image in target/image: run \`cargo ci image\`" >&2
  exit 2
fi

kind create cluster --name "$cluster" --config ci/kind/cluster.yaml --wait 180s
kind load image-archive "${images[0]}" --name "$cluster"

# The nodes' image has only the plugins of kind's own network; Debian's package has the others.
mapfile -t nodes < <(kind get nodes --name "$cluster")
for node in "${nodes[@]}"; do
  docker exec "$node" sh -euc '
    apt-get -qq update
    apt-get -qq install --yes --no-install-recommends containernetworking-plugins > /dev/null
    for plugin in bridge macvlan static; do cp "/usr/lib/cni/$plugin" "/opt/cni/bin/$plugin"; done'
done

# The release's manifest names an image that moves; here it is the release's own.
curl --fail --silent --show-error --location \
  "https://raw.githubusercontent.com/k8snetworkplumbingwg/multus-cni/$multus/deployments/multus-daemonset-thick.yml" \
  | sed "s/:snapshot-thick/:$multus-thick/" | kubectl apply -f -
kubectl apply --server-side --force-conflicts -k deploy/manifests/crds
kubectl wait --for=condition=Established crd --all --timeout=60s
kubectl rollout status daemonset/kube-multus-ds -n kube-system --timeout=300s

kubectl apply -k deploy/manifests/base
kubectl rollout status daemonset/mnp-nft-bridge -n kube-system --timeout=180s
kubectl get pods -n kube-system -l app=mnp-nft-bridge -o wide
