//! What is installed, on a real API server: it takes all of it, and lets the agents' account do no more than that.

use crate::server::with_server;

#[test]
fn api_server_takes_everything_that_an_operator_applies() {
    with_server("installed", |server| {
        server.install_crds();
        let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        server.kubectl(&["apply", "-f", &format!("{deploy}/examples")]);
        let said = server.kubectl(&["apply", "-k", &format!("{deploy}/manifests/cleanup")]);
        assert!(said.contains("daemonset.apps/mnp-nft-bridge configured"), "{said}");
        let arguments = |container: &str| {
            let path = format!("-o=jsonpath={{.spec.template.spec.{container}.args}}");
            server.kubectl(&["get", "daemonset", "-n", "kube-system", "mnp-nft-bridge", &path])
        };
        assert_eq!(arguments("initContainers[0]"), r#"["cleanup"]"#);
        assert!(arguments("containers[0]").contains("--dry-run"));
        let said = server.kubectl(&["delete", "-k", &format!("{deploy}/manifests/base")]);
        assert!(said.contains("daemonset.apps \"mnp-nft-bridge\" deleted"), "{said}");
    });
}

#[test]
fn account_may_read_what_is_watched_and_change_nothing_of_it() {
    with_server("account", |server| {
        server.install_crds();
        let may = |verb: &str, what: &str| {
            // The status says no as well as the text.
            let asked =
                ["auth", "can-i", verb, what, "--as=system:serviceaccount:kube-system:mnp-nft-bridge", "-A"];
            server.plane.kubectl(&asked, "").is_ok_and(|answer| answer.trim() == "yes")
        };
        let policies = "multi-networkpolicies.k8s.cni.cncf.io";
        let networks = "network-attachment-definitions.k8s.cni.cncf.io";
        for what in ["pods", "namespaces", policies, networks] {
            assert!(["get", "list", "watch"].iter().all(|verb| may(verb, what)), "{what} are read");
            for verb in ["create", "update", "patch", "delete"] {
                assert!(!may(verb, what), "{verb} {what}");
            }
        }
        for what in ["secrets", "configmaps", "nodes", "services"] {
            assert!(!may("get", what), "{what}");
        }
    });
}
