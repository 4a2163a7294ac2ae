//! What `SECURITY.md` advises for clusters of several tenants, on a real API server.

use crate::server::{Server, with_server};

const POD: &str = "{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: default}, \
                   spec: {containers: [{name: web, image: web}]}}";
const MULTUS: &str = "--as=system:serviceaccount:kube-system:multus";
const TENANT: &str = "--as=tenant";

/// Annotates the pod as somebody; why not, when it is refused.
fn annotate(server: &Server, who: &str, subresource: &[&str], key: &str, value: &str) -> Result<(), String> {
    let patch = format!(r#"{{"metadata":{{"annotations":{{"k8s.v1.cni.cncf.io/{key}":"{value}"}}}}}}"#);
    let arguments = [&["patch", "pod", "web", "--type=merge", "--patch", &patch, who], subresource].concat();
    server.plane.kubectl(&arguments, "").map(drop).map_err(|error| format!("{error:#}"))
}

#[test]
fn only_multus_writes_the_network_status_of_pods_once_that_is_installed() {
    with_server("tenants", |server| {
        for (name, account) in
            [("tenant", "--user=tenant"), ("multus", "--serviceaccount=kube-system:multus")]
        {
            server.kubectl(&["create", "clusterrolebinding", name, "--clusterrole=cluster-admin", account]);
        }
        server.apply(POD);
        annotate(server, TENANT, &[], "network-status", "before").expect("nothing forbids it yet");

        server.kubectl(&["apply", "-k", &format!("{}/../manifests/tenants", env!("CARGO_MANIFEST_DIR"))]);
        // The API server takes a moment until it judges by a new policy.
        let attempts =
            (0..1_000).map(|at| annotate(server, TENANT, &[], "network-status", &format!("mine {at}")));
        let refused = attempts.filter_map(Result::err).next().expect("it is refused in the end");
        assert!(refused.contains("only Multus may write a pod's network status"), "{refused}");
        for subresource in [&[][..], &["--subresource=status"]] {
            for key in ["network-status", "networks-status"] {
                assert!(
                    annotate(server, TENANT, subresource, key, "mine, again").is_err(),
                    "{subresource:?} {key}"
                );
            }
            annotate(server, MULTUS, subresource, "network-status", "by Multus").expect("Multus may");
            annotate(server, TENANT, subresource, "networks", "lan").expect("what a pod asks for is its own");
        }
        server.plane.kubectl(&["label", "pod", "web", "a=b", TENANT], "").expect("so are its labels");
        let with_status = POD.replace(
            "name: web, n",
            "name: other, annotations: {k8s.v1.cni.cncf.io/network-status: mine}, n",
        );
        let created = server.plane.kubectl(&["create", "-f", "-", TENANT], &with_status);
        assert!(created.is_err(), "a pod is not created with a status either");
    });
}
