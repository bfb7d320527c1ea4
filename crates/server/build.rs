//! Embeds the fixtures, the story that `pedigree demo` pushes.

use std::{
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures").canonicalize()?;
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

    #[expect(clippy::disallowed_methods, reason = "cargo tells a build script where to write by the environment")]
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("story.rs"), code)?;
    Ok(())
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
