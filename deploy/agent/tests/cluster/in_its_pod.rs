//! The agent as its pod runs it: what Kubernetes puts into the container says where the API server is, and nothing else is
//! there.

use std::fs;

use crate::agent::{directory, held};
use crate::container::Container;
use crate::objects::{CLUSTER, COMMITTED, SETTLED, names_port, policy};
use crate::server::{NODE, with_server};

/// Where Kubernetes puts the token of the pod's account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

#[test]
fn pod_follows_the_api_server_with_what_kubernetes_gives_it() {
    with_server("pod", |server| {
        server.install_crds();
        server.apply(CLUSTER);
        let account = directory("cluster-pod-account");
        let token = server.token(&[]);
        let authority = fs::read_to_string(server.plane.authority()).expect("a certificate");
        for (file, text) in [("token", token.as_str()), ("ca.crt", &authority), ("namespace", "kube-system")]
        {
            fs::write(account.join(file), text).expect("a file can be written");
        }
        let address = server.plane.address();
        let (host, port) = (address.ip().to_string(), address.port().to_string());
        let environment = [
            ("KUBERNETES_SERVICE_HOST", host.as_str()),
            ("KUBERNETES_SERVICE_PORT", port.as_str()),
            ("NODE_NAME", NODE),
        ];
        let container = Container::of_manifest("pod").with(&account, ACCOUNT);
        let mut agent = container.start(&environment, &["--start-within", "0"]);
        agent.logged(SETTLED);
        assert_eq!(agent.status("CapEff"), container.mask());
        server.apply(&policy(80));
        agent.logged(COMMITTED);
        assert!(names_port(&held(), 80));
    });
}
