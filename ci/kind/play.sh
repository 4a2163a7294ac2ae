#!/usr/bin/env bash
# Plays scenarios with real pods on the cluster that kubectl speaks with.
#
#   ci/kind/play.sh FILE...            on a cluster of ci/kind/up.sh
#   ci/kind/play.sh --check FILE...    any API server: would it take the objects?
#
# Scenarios that need what only the harness can do, or hold what no API server takes, are named and left out. The exit
# status is 0 when all others are as they should be, and there are AT_LEAST so many (1). CLUSTER names the kind cluster, SIM
# the program sim.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# How long a stage may take until everything is as it should be, in seconds.
patience=60
# Pods are probed so many at a time.
at_once=16

check=false
if [[ "${1:-}" == --check ]]; then
  check=true
  shift
fi
if [[ $# -eq 0 ]]; then
  echo "usage: ci/kind/play.sh [--check] FILE..." >&2
  exit 2
fi
for program in jq kubectl; do
  command -v "$program" > /dev/null || { echo "error: $program is not installed" >&2; exit 2; }
done
if [[ -z "${SIM:-}" ]]; then
  cargo build --quiet --locked --package sim --bin sim
  SIM="$(cargo metadata --locked --no-deps --format-version 1 | jq -r .target_directory)/debug/sim"
fi

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# Workers get the names that the scenario's nodes have; bridges of one name on two workers are joined by a tunnel.
prepare_nodes() { # SCRIPT
  local script="$1" cluster="${CLUSTER:-mnp-nft-bridge}" wanted workers number bridge address own other
  mapfile -t workers < <(kind get nodes --name "$cluster" | grep -- -worker | sort)
  mapfile -t wanted < <(jq -r '.nodes[]' "$script")
  if (( ${#wanted[@]} > ${#workers[@]} )); then
    echo "  it wants ${#wanted[@]} nodes, the cluster has ${#workers[@]}"
    return 1
  fi
  kubectl label node --all sim.mnp-nft-bridge.io/node- > /dev/null
  for number in "${!wanted[@]}"; do
    kubectl label node "${workers[number]}" "sim.mnp-nft-bridge.io/node=${wanted[number]}" > /dev/null
  done
  if (( ${#workers[@]} != 2 )); then
    return 0
  fi
  number=100
  while read -r bridge; do
    number=$((number + 1))
    for own in 0 1; do
      other="${workers[1 - own]}"
      address="$(docker inspect --format '{{.NetworkSettings.Networks.kind.IPAddress}}' "$other")"
      docker exec "${workers[own]}" sh -euc "
        ip link show '$bridge' > /dev/null 2>&1 || ip link add '$bridge' type bridge
        ip link set '$bridge' up
        ip link show 'tunnel$number' > /dev/null 2>&1 || {
          ip link add 'tunnel$number' type vxlan id '$number' remote '$address' dstport 4790
          ip link set 'tunnel$number' master '$bridge' up
        }"
    done
  done < <(jq -r '.bridges[]' "$script")
}

# What a bridge has left over would carry frames of the next scenario.
clear_nodes() { # SCRIPT
  local node bridge
  local -a namespaces
  mapfile -t namespaces < <(jq -r '.namespaces[] | select(. != "default")' "$1")
  kubectl delete namespace --wait --timeout=120s --ignore-not-found "${namespaces[@]}" > /dev/null
  while read -r node; do
    while read -r bridge; do
      docker exec "$node" sh -c "
        for port in \$(ip -o link show type vxlan master '$bridge' | cut -d: -f2); do ip link del \"\$port\"; done
        ip link del '$bridge'" > /dev/null 2>&1 || true
    done < <(jq -r '.bridges[]' "$1")
  done < <(kind get nodes --name "${CLUSTER:-mnp-nft-bridge}" | grep -- -worker)
}

# Whether a probe is answered.
ask() { # FROM INTERFACE ADDRESS VIA PORT
  local pod=(kubectl exec --namespace "${1%/*}" "${1#*/}" --) target="$3"
  [[ "$3" == *:* ]] && target="[$3]"
  case "$4" in
    arp) "${pod[@]}" arping -c 2 -w 3 -I "$2" "$3" ;;
    icmp) "${pod[@]}" ping -c 1 -W 2 -I "$2" "$3" ;;
    *) "${pod[@]}" /agnhost connect "$target:$5" "--protocol=$4" --timeout=2s ;;
  esac > /dev/null 2>&1
}

# Asks, and says what is wrong with the answer.
judge() { # FROM INTERFACE TO ADDRESS VIA PORT OPEN
  local got=false
  if ask "$1" "$2" "$4" "$5" "$6"; then got=true; fi
  if [[ "$got" != "$7" ]]; then
    echo "    $1 -> $3 ($4) $5 $6: open is $got, wanted $7"
  fi
}

# All probes of a stage, until all are right at once; what is wrong is printed when that takes too long.
probe() { # SCRIPT STAGE
  local deadline=$((SECONDS + patience)) wrong question
  while true; do
    wrong="$work/wrong"
    : > "$wrong"
    while IFS=$'\t' read -r -a question; do
      while (( $(jobs -rp | wc -l) >= at_once )); do wait -n || true; done
      judge "${question[@]}" >> "$wrong" &
    done < <(jq -r ".stages[$2].probes[] | [.from, .interface, .to, .address, .via, (.port // \"-\"), .open] | @tsv" "$1")
    wait
    if [[ ! -s "$wrong" ]]; then
      return 0
    fi
    if (( SECONDS > deadline )); then
      cat "$wrong"
      return 1
    fi
  done
}

delete_objects() { # SCRIPT STAGE
  jq -r ".stages[$2].delete[] | [.kind, .name, .namespace // \"\"] | @tsv" "$1" \
    | while IFS=$'\t' read -r kind name namespace; do
      # A network policy's kind is also that of others: the group says which.
      case "$kind" in
        MultiNetworkPolicy | NetworkAttachmentDefinition) kind="$kind.k8s.cni.cncf.io" ;;
      esac
      kubectl delete "$kind" "$name" ${namespace:+--namespace "$namespace"} --ignore-not-found --wait --timeout=120s \
        || exit 1
    done > /dev/null
}

apply() { # SCRIPT STAGE CONDITION OPTION...
  local items
  items="$(jq -c ".stages[$2].apply | map(select($3))" "$1")"
  if [[ "$items" != "[]" ]]; then
    jq '{apiVersion: "v1", kind: "List", items: .}' <<< "$items" \
      | kubectl apply --server-side --force-conflicts "${@:4}" -f - > /dev/null
  fi
}

apply_objects() { # SCRIPT STAGE
  local namespace option=()
  # Namespaces are there in earnest, or nothing in them could be checked.
  apply "$1" "$2" '.kind == "Namespace"' || return 1
  if "$check"; then
    option=(--dry-run=server)
  else
    while read -r namespace; do
      # No pod is taken before its account is there.
      kubectl wait --for=create --timeout=60s --namespace "$namespace" serviceaccount/default > /dev/null || return 1
    done < <(jq -r ".stages[$2].apply[] | select(.kind == \"Namespace\").metadata.name" "$1")
  fi
  apply "$1" "$2" '.kind != "Namespace"' "${option[@]}"
}

await_pods() { # SCRIPT STAGE
  jq -r ".stages[$2].pods[]" "$1" | while IFS=/ read -r namespace name; do
    kubectl wait --for=condition=Ready --timeout=180s --namespace "$namespace" "pod/$name" || exit 1
  done > /dev/null
}

play() { # SCRIPT
  local script="$1" stage count name
  count="$(jq '.stages | length' "$script")"
  "$check" || prepare_nodes "$script" || return 1
  for (( stage = 0; stage < count; stage++ )); do
    name="$(jq -r ".stages[$stage].name" "$script")"
    "$check" || delete_objects "$script" "$stage" || { echo "  $name: cannot delete"; return 1; }
    apply_objects "$script" "$stage" || { echo "  $name: the API server does not take it"; return 3; }
    if ! "$check"; then
      await_pods "$script" "$stage" || { echo "  $name: a pod does not run"; return 1; }
      probe "$script" "$stage" || { echo "  $name: probes did not end as they should"; return 1; }
    fi
  done
}

passed=0 failed=0 skipped=0
for file in "$@"; do
  script="$work/script.json"
  status=0
  "$SIM" kind "$file" > "$script" || status=$?
  if (( status == 1 )); then
    cat "$script"
    skipped=$((skipped + 1))
    continue
  elif (( status != 0 )); then
    exit "$status"
  fi
  echo "$file"
  status=0
  play "$script" || status=$?
  case "$status" in
    0) passed=$((passed + 1)) ;;
    3) skipped=$((skipped + 1)) ;;
    *) failed=$((failed + 1)) ;;
  esac
  "$check" || clear_nodes "$script"
done
echo "$passed passed, $failed failed, $skipped not played"
(( failed == 0 && passed >= ${AT_LEAST:-1} ))
