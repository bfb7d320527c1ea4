//! Any request line: `METHOD path?query`. What is refused has a client's error, what is understood names only what the
//! grammar allows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use oci::{Name, Route};

fuzz_target!(|line: &str| {
    let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    match Route::parse(method, path, query) {
        Ok(route) => {
            if let Some(name) = route.repository() {
                assert_eq!(name.parse::<Name>().as_ref(), Ok(name));
            }
            if let Route::UploadStatus(upload)
            | Route::PatchUpload(upload)
            | Route::FinishUpload(upload, _)
            | Route::CancelUpload(upload) = route
            {
                let id = upload.id;
                assert!(!id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id:?}");
            }
        }
        Err(error) => {
            let (status, _) = error.status();
            assert!((400..500).contains(&status), "{status}");
            assert!(!error.to_string().is_empty());
        }
    }
});
