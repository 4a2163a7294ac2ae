//! What cannot be enforced is an Event on its object, written with the rights of the agent's account.

use serde_json::Value;

use crate::agent::Agent;
use crate::objects::{CLUSTER, SETTLED, policy};
use crate::server::{Server, with_server};

/// The messages of the Events about the policy, with the name of each.
fn events(server: &Server) -> Vec<(String, String)> {
    let printed = server.kubectl(&["get", "events", "-n", "shop", "-o", "json"]);
    let list: Value = serde_json::from_str(&printed).expect("kubectl prints JSON");
    let items = list.get("items").and_then(Value::as_array).expect("a list").iter();
    let about = items
        .filter(|item| item.pointer("/involvedObject/kind").is_some_and(|kind| kind == "MultiNetworkPolicy"));
    let text =
        |item: &Value, path: &str| item.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    about.map(|item| (text(item, "/metadata/name"), text(item, "/message"))).collect()
}

fn bad() -> String {
    policy(80).replace("ingress: [{", "ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/33}}], ")
}

fn written(agent: &mut Agent) -> String {
    agent.logged("an Event is written").get("outcome").and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[test]
fn a_bad_policy_has_one_event_that_names_the_field() {
    with_server("events", |server| {
        server.install_crds();
        server.apply(CLUSTER);
        server.apply(&bad());
        let mut agent = server.agent();
        agent.logged(SETTLED);
        assert_eq!(written(&mut agent), "Written");
        let told = events(server);
        assert_eq!(told.len(), 1, "{told:?}");
        let (name, message) = told.into_iter().next().expect("there is one");
        assert!(message.starts_with("spec.ingress[0].from[0].ipBlock.cidr: "), "{message}");
        assert!(message.contains("10.0.0.0/33"), "{message}");
        let described = server.kubectl(&["describe", "multi-networkpolicy", "-n", "shop", "web"]);
        assert!(described.contains("NotEnforced"), "{described}");

        // Another agent finds the same problem, and says nothing new.
        drop(agent);
        let mut other = server.agent();
        other.logged(SETTLED);
        assert_eq!(written(&mut other), "Shared");
        assert_eq!(events(server).into_iter().map(|(name, _)| name).collect::<Vec<_>>(), [name]);

        server.apply(&policy(80));
        other.logged("earlier problems are solved");
    });
}
