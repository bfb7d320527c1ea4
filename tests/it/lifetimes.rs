//! A delete closes a stay and keeps what was known; another push opens another.

use crate::{
    push::{Repository, holders, models},
    sample::sha256,
    server::{Server, on_both_engines},
};

fn model(repository: &str, tags: &str, distance: u64, grade: &str) -> (String, String, u64, String) {
    (repository.into(), tags.into(), distance, grade.into())
}

on_both_engines! {
    fn what_was_deleted_still_answers(server: Server) {
        let (leak, question) = (b"4111 1111 1111 1111\n", |as_of: &str| {
            format!("/impact?file={}&wait=30{as_of}", sha256(b"4111 1111 1111 1111\n"))
        });
        let mut kits = Repository::new(&server.host, "team/kit");
        let digest = kits.kit("1.0", b"weights", leak);
        let before = server.api(&question(""), 200);
        assert_eq!(models(&before), [model("team/kit", "1.0", 0, "packaged")]);
        assert_eq!(before["models"][0]["state"], "tagged");
        let first_push = before["models"][0]["pushed_at"].as_str().unwrap().to_owned();
        let then = before["query"]["as_of"].as_str().unwrap().to_owned();

        kits.delete("1.0");
        let untagged = server.api(&question(""), 200);
        assert_eq!(untagged["models"][0]["state"], "untagged");
        assert_eq!(untagged["models"][0]["past_tags"][0], "1.0");
        kits.delete(&digest);
        kits.send("GET", &format!("/manifests/{digest}"), &[], b"").expect(404);
        let deleted = server.api(&question(""), 200);
        assert_eq!(deleted["models"][0]["state"], "deleted");
        assert_eq!(deleted["models"][0]["evidence"][0]["path"], "train.csv");
        assert_eq!(deleted["completeness"]["exact"], true);
        // By digest the kit is still told; its layers too.
        let kit = server.api(&format!("/repositories/team/kit/-/kits/{digest}"), 200);
        assert_eq!((&kit["state"], kit["layers"].as_array().unwrap().len()), (&"deleted".into(), 2));

        // As of then it was there, and asking again says the same.
        let past = server.api(&question(&format!("&as_of={then}")), 200);
        assert_eq!((models(&past), &past["models"][0]["state"]), (models(&before), &"tagged".into()));

        kits.kit("1.1", b"weights", leak);
        let again = server.api(&question(""), 200);
        assert_eq!(models(&again), [model("team/kit", "1.1", 0, "packaged")], "one row for the repository");
        assert_eq!(again["models"][0]["past_tags"][0], "1.0");
        assert_ne!(again["models"][0]["pushed_at"], first_push.as_str(), "a new stay");
        let past = server.api(&question(&format!("&as_of={then}")), 200);
        assert_eq!(past["models"], before["models"], "the old stay still answers");
    }

    fn a_moved_tag_moves_no_reference(server: Server) {
        let mut parents = Repository::new(&server.host, "team/parent");
        let old = parents.kit("latest", b"old", b"old data");
        let mut children = Repository::new(&server.host, "team/child");
        children.child("1", "localhost:5000/team/parent:latest");
        parents.kit("latest", b"new", b"new data");
        // Pushed again it is the same manifest in the same stay: what it named stays what it named.
        children.child("2", "localhost:5000/team/parent:latest");
        let of_old = server.api(&format!("/impact?file={}&wait=30", sha256(b"old data")), 200);
        assert_eq!(
            models(&of_old),
            [model("team/parent", "", 0, "packaged"), model("team/child", "1 2", 1, "packaged")]
        );
        assert_eq!(of_old["models"][1]["evidence"][0]["target"]["digest"], old.as_str());
        let of_new = server.api(&format!("/impact?file={}", sha256(b"new data")), 200);
        assert_eq!(models(&of_new), [model("team/parent", "latest", 0, "packaged")]);
    }

    fn a_parent_that_comes_late_is_found_and_marked(server: Server) {
        Repository::new(&server.host, "team/child").child("1", "localhost:5000/team/parent:1.0");
        Repository::new(&server.host, "team/assumed").child("1", "team/parent:1.0");
        Repository::new(&server.host, "team/outside").child("1", "registry.example/team/parent:1.0");
        let question = format!("/impact?file={}&wait=30", sha256(b"late data"));
        let before = server.api(&question, 200);
        assert_eq!(before["completeness"]["unresolved_references"], 2);
        assert_eq!(before["completeness"]["outside"]["external_parents"], 1);
        assert_eq!(before["completeness"]["exact"], false, "a reference to something here that is not here");

        Repository::new(&server.host, "team/parent").kit("1.0", b"w", b"late data");
        let after = server.api(&question, 200);
        let expected = [("team/parent", 0), ("team/assumed", 1), ("team/child", 1)];
        assert_eq!(models(&after), expected.map(|(name, distance)| {
            model(name, if distance == 0 { "1.0" } else { "1" }, distance, "packaged")
        }));
        let step = |model: usize, key: &str| after["models"][model]["evidence"][0][key].clone();
        assert_eq!((step(1, "late"), step(1, "assumed")), (true.into(), true.into()));
        assert_eq!((step(2, "late"), step(2, "assumed").is_null()), (true.into(), true));
        assert_eq!(after["completeness"]["exact"], true);

        // The registry learns a name: what was outside is tried again.
        let mut server = server;
        server.kill();
        server.restart(&["--name", "registry.example"]);
        let renamed = server.api(&question, 200);
        let names: Vec<_> = models(&renamed).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["team/parent", "team/assumed", "team/child", "team/outside"]);
        assert_eq!(renamed["completeness"]["outside"]["external_parents"], 0);
    }

    fn grades_are_floors(server: Server) {
        let mut parents = Repository::new(&server.host, "team/parent");
        let parent = parents.kit("1", b"w", b"data");
        Repository::new(&server.host, "team/child").child("1", &format!("localhost:5000/team/parent@{parent}"));
        let by_file = format!("/impact?file={}&wait=30", sha256(b"data"));
        assert_eq!(models(&server.api(&by_file, 200)).len(), 2);
        assert!(models(&server.api(&format!("{by_file}&grade=declared"), 200)).is_empty(), "packaged is weaker");
        // From the parent itself the only step is declared.
        let by_parent = "/impact?ref=team/parent:1&grade=declared";
        let names: Vec<_> = models(&server.api(by_parent, 200)).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["team/parent", "team/child"]);
        assert!(holders(&server.api(by_parent, 200)).is_empty());
    }

    fn a_tag_is_asked_for_as_it_was(server: Server) {
        let mut parents = Repository::new(&server.host, "team/parent");
        let old = parents.kit("prod", b"old", b"old data");
        Repository::new(&server.host, "team/child").child("1", &format!("localhost:5000/team/parent@{old}"));
        let then = server.api("/impact?ref=team/parent:prod&wait=30", 200)["query"]["as_of"].as_str().unwrap().to_owned();
        let new = parents.kit("prod", b"new", b"new data");
        let digests = |answer: &serde_json::Value| -> Vec<String> {
            answer["models"].as_array().unwrap().iter().map(|model| model["digest"].as_str().unwrap().into()).collect()
        };
        assert_eq!(digests(&server.api("/impact?ref=team/parent:prod", 200)), [new]);
        let past = server.api(&format!("/impact?ref=team/parent:prod&as_of={then}"), 200);
        assert_eq!(models(&past).len(), 2);
        assert_eq!(digests(&past)[0], old);
        server.api("/impact?ref=team/parent:prod&as_of=2020-01-01T00:00:00Z", 404);
    }

    fn references_and_targets_that_are_pushed_at_once_meet(server: Server) {
        for round in 0..12 {
            let parent = format!("meet/parent{round}");
            let reference = format!("localhost:5000/{parent}:1");
            std::thread::scope(|scope| {
                scope.spawn(|| Repository::new(&server.host, &parent).kit("1", parent.as_bytes(), b"meeting data"));
                scope.spawn(|| Repository::new(&server.host, &format!("meet/child{round}")).child("1", &reference));
            });
        }
        let answer = server.api(&format!("/impact?file={}&wait=30", sha256(b"meeting data")), 200);
        let children = models(&answer).iter().filter(|(_, _, distance, _)| *distance == 1).count();
        assert_eq!((children, &answer["completeness"]["unresolved_references"]), (12, &0.into()));
    }
}
