//! The objects that the agent is tested with, and what it says about them.

use policy_core::ruleset::Ruleset;

/// What the agent says after a commit.
pub(crate) const COMMITTED: &str = "the kernel has committed a change";
/// What it says when it has heard of everything and the kernel has taken it.
pub(crate) const SETTLED: &str = "everything is known, and the kernel enforces it";

/// A namespace, a network, and a pod of node `edge-1`.
pub(crate) const CLUSTER: &str = r#"apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: lan, namespace: shop}
spec: {config: '{"cniVersion": "0.3.1", "type": "bridge", "bridge": "br1"}'}
---
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  labels: {app: web}
  annotations:
    k8s.v1.cni.cncf.io/network-status: |
      [{"name": "shop/lan", "interface": "net1", "mac": "02:00:00:00:00:01", "ips": ["10.0.0.1"]}]
spec: {nodeName: edge-1, containers: [{name: web, image: none}]}
"#;

/// A policy that isolates the pod and lets everybody reach this TCP port.
pub(crate) fn policy(port: u16) -> String {
    format!(
        "apiVersion: k8s.cni.cncf.io/v1beta1\nkind: MultiNetworkPolicy\n\
         metadata: {{name: web, namespace: shop, annotations: {{k8s.v1.cni.cncf.io/policy-for: lan}}}}\n\
         spec: {{podSelector: {{}}, ingress: [{{ports: [{{port: {port}}}]}}]}}\n"
    )
}

/// Whether a rule of a policy is about this port.
pub(crate) fn names_port(ruleset: &Ruleset, port: u16) -> bool {
    ruleset.to_string().contains(&format!("th dport {port} "))
}
