//! Embeds the fixtures, the story that `pedigree demo` pushes.

use std::{
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let root = told("CARGO_MANIFEST_DIR")?.join("../../tests/fixtures").canonicalize()?;
    println!("cargo::rerun-if-changed={}", root.display());
    println!("cargo::rerun-if-changed=build.rs");
    let oci = root.join("oci");
    let mut layouts = Vec::new();
    find_layouts(&oci, &mut layouts)?;
    layouts.sort();

    let mut code = String::from("pub(super) static LAYOUTS: &[Layout] = &[\n");
    for layout in layouts {
        let repository = layout.strip_prefix(&oci)?.to_str().ok_or("a path is not UTF-8")?.replace('\\', "/");
        writeln!(
            code,
            "Layout {{ repository: {repository:?}, index: include_bytes!({:?}), blobs: &[",
            layout.join("index.json")
        )?;
        let mut blobs =
            fs::read_dir(layout.join("blobs/sha256"))?.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
        blobs.sort();
        for blob in blobs {
            let name = blob.file_name().and_then(|name| name.to_str()).ok_or("a path is not UTF-8")?;
            writeln!(code, "(\"sha256:{name}\", include_bytes!({blob:?})),")?;
        }
        code.push_str("] },\n");
    }
    writeln!(code, "];\npub(super) static LEAKED: &[u8] = include_bytes!({:?});", root.join("files/customers.csv"))?;

    fs::write(told("OUT_DIR")?.join("story.rs"), code)?;
    Ok(())
}

/// A folder, as cargo tells of it when the script runs. It may have been compiled for a checkout elsewhere.
fn told(variable: &str) -> Result<PathBuf, String> {
    #[expect(clippy::disallowed_methods, reason = "cargo tells a build script by the environment")]
    std::env::var_os(variable).map(PathBuf::from).ok_or_else(|| format!("{variable} is not set"))
}

fn find_layouts(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Box<dyn Error>> {
    if folder.join("index.json").is_file() {
        found.push(folder.into());
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find_layouts(&path, found)?;
        }
    }
    Ok(())
}
