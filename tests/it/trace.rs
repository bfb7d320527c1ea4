//! `pedigree trace` and its neighbours, as a person or a script runs them.

use std::{fs, process::Command};

use serde_json::Value;

use crate::{
    push::Repository,
    sample::gzip,
    server::{Server, on_both_engines},
};

on_both_engines! {
    fn exit_codes_say_who_is_affected(server: Server) {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let (leak, clean) = (file("leak/cards.csv", "4111\n"), file("clean.csv", "nothing\n"));
        let held = file("held/held.csv", "only held\n");
        Repository::new(&server.host, "team/kit").kit("1.0", b"w", b"4111\n");
        Repository::new(&server.host, "team/files").artifact("1", &[b"only held\n"]);

        let (said, code) = server.asked(&["trace", &leak]);
        assert_eq!(code, 1, "{said}");
        for part in ["team/kit", "1.0", "packaged", "train.csv"] {
            assert!(said.contains(part), "{part} in\n{said}");
        }
        let (said, code) = server.asked(&["trace", &clean]);
        assert_eq!(code, 0, "{said}");
        // Held, but by no model: somebody has to be told all the same.
        let (said, code) = server.asked(&["trace", &held]);
        assert!(code == 1 && said.contains("team/files"), "{code}: {said}");

        // What is asked for may be a link; those in a folder are not followed, and that is said.
        let links = tempfile::tempdir().unwrap();
        let link = links.path().join("cards.csv");
        std::os::unix::fs::symlink(&leak, &link).unwrap();
        let (said, code) = server.asked(&["trace", link.to_str().unwrap()]);
        assert!(code == 1 && said.contains("team/kit"), "{code}: {said}");
        let (said, code) = server.asked(&["trace", links.path().to_str().unwrap()]);
        assert!(code == 2 && said.contains("links in it are not followed"), "{code}: {said}");

        // A folder asks for each of its files.
        let (said, code) = server.asked(&["trace", folder.path().to_str().unwrap(), "--json"]);
        let json: Value = serde_json::from_str(&said).unwrap();
        assert_eq!((code, json["files"].as_array().unwrap().len()), (1, 3));
        assert_eq!(json["models"][0]["repository"], "team/kit");
        assert_eq!(json["holders"][0]["repository"], "team/files");

        // Of what could not be looked into whole, "nobody" is not certain either.
        let cut = folder.path().join("cut.csv.gz");
        let packed = gzip(b"something else\n");
        fs::write(&cut, &packed[..packed.len() - 4]).unwrap();
        let (said, code) = server.asked(&["trace", cut.to_str().unwrap()]);
        assert!(code == 3 && said.contains("what is in 1 file here"), "{code}: {said}");
        let (said, code) = server.asked(&["trace", cut.to_str().unwrap(), "--json"]);
        // What is said beside the answer follows it.
        let json = serde_json::Deserializer::from_str(&said).into_iter::<Value>().next().unwrap().unwrap();
        assert_eq!((code, &json["completeness"]["exact"], &json["completeness"]["unread_files"]), (3, &false.into(), &1.into()));
        assert!(json["unread"][0]["reason"].as_str().is_some_and(|reason| reason.contains("gzip")), "{said}");
        fs::remove_file(&cut).unwrap();

        // Somebody refers to what is not here, so that "nobody" is not certain.
        Repository::new(&server.host, "team/orphan").child("1", "localhost:5000/team/gone:1");
        let (said, code) = server.asked(&["trace", &clean, "--wait", "0"]);
        assert_eq!(code, 3, "{said}");
        let (said, code) = server.asked(&["trace", "/no/such/file"]);
        assert!(code == 2 && said.contains("/no/such/file"), "{said}");
        let (said, code) = server.asked(&["trace", &leak, "--server", "127.0.0.1:1"]);
        assert!(code == 2 && said.contains("127.0.0.1:1"), "{said}");
    }

    fn links_in_a_folder_are_skipped_as_they_are_in_a_layer(server: Server) {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("in")).unwrap();
        fs::write(path("a.csv"), "a\n").unwrap();
        fs::write(path("in/b.csv"), "b\n").unwrap();
        fs::write(outside.path().join("secret"), "outside\n").unwrap();
        for (to, link) in [(outside.path(), "out"), (&outside.path().join("secret"), "secret"), (&path("a.csv"), "in/a")] {
            std::os::unix::fs::symlink(to, path(link)).unwrap();
        }
        let tar = Command::new("tar").arg("-C").arg(folder.path()).args(["-cf", "-", "."]).output().unwrap();
        assert!(tar.status.success(), "{tar:?}");
        Repository::new(&server.host, "team/folder").artifact("1", &[&tar.stdout]);
        let (said, code) = server.asked(&["trace", folder.path().to_str().unwrap(), "--json"]);
        // What was skipped is told after it, for people.
        let json: Value = serde_json::Deserializer::from_str(&said).into_iter().next().unwrap().unwrap();
        assert_eq!((code, json["files"].as_array().unwrap().len()), (1, 2), "{json:#}");
        assert_eq!(json["skipped"].as_array().unwrap().len(), 3, "{json:#}");
        assert_eq!(json["holders"][0]["evidence"][0]["rungs"][0], "tree", "{json:#}");
        let (said, _) = server.asked(&["trace", folder.path().to_str().unwrap()]);
        assert!(said.contains("2 files") && said.contains("links skipped: 3"), "{said}");
    }

    fn the_other_commands_read_a_running_server(server: Server) {
        let digest = Repository::new(&server.host, "team/kit").kit("1.0", b"w", b"data");
        let ok = |arguments: &[&str], part: &str| {
            let (said, code) = server.asked(arguments);
            assert!(code == 0 && said.contains(part), "{arguments:?}: {code}\n{said}");
        };
        ok(&["kits"], "team/kit");
        ok(&["kits", "team/kit"], "1.0");
        ok(&["show", "team/kit:1.0"], "train.csv");
        ok(&["show", &format!("team/kit@{digest}"), "--json"], &digest);
        let (said, code) = server.asked(&["impact", "team/kit:1.0"]);
        assert!(code == 1 && said.contains("team/kit"), "{code}: {said}");
        let (said, code) = server.asked(&["impact", "team/none:1.0"]);
        assert!(code == 2 && said.contains("team/none"), "{code}: {said}");
        let page = crate::wire::Wire::new(&server.host).get("/", "text/plain").expect(200);
        let page = String::from_utf8(page.body).unwrap();
        for part in ["kit push", "docker push", "oras push", "pedigree trace"] {
            assert!(page.contains(&format!("{part} ")), "{part} in\n{page}");
        }
    }
}

#[test]
fn the_demo_tells_its_story() {
    let output = Command::new(crate::server::binary()).args(["demo", "--exit"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    for part in ["fraud/detector", "fraud/alias", "risk/scoring", "adhoc/customers", "exact"] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
}
