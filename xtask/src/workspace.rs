//! What the checks look at: the packages with the edges between them, and the source files.
//!
//! Packages come from `cargo metadata`, so that inherited dependencies are already resolved.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// How one package of ours uses another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Linked into it.
    Normal,
    /// Called by its build script.
    Build,
    /// Needed by its tests only.
    Dev,
}

/// One package needs another; both are named by folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edge {
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) using: Use,
}

/// One text file, named relative to the root.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The whole workspace, read once.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    /// Folders that hold a package, relative to the root, sorted.
    pub(crate) packages: Vec<String>,
    pub(crate) edges: Vec<Edge>,
    /// Every `.rs` file.
    pub(crate) sources: Vec<SourceFile>,
    /// Every package's `Cargo.toml`.
    pub(crate) manifests: Vec<SourceFile>,
}

impl Workspace {
    /// Reads the workspace that this package belongs to.
    pub(crate) fn load() -> Result<Self> {
        let root = root()?;
        let metadata = metadata(&root)?;
        let packages = packages(&root, &metadata)?;
        let manifests = read_manifests(&root, &packages)?;
        let mut sources = Vec::new();
        collect_sources(&root, &root, &mut sources)?;
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        let edges = edges(&root, &metadata)?;
        Ok(Self {
            root,
            packages,
            edges,
            sources,
            manifests,
        })
    }
}

/// The workspace's root folder: the parent of this package's own.
pub(crate) fn root() -> Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(own
        .parent()
        .context("xtask has no parent folder")?
        .to_path_buf())
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder() -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => Ok(folder.into()),
        None => Ok(root()?.join("target")),
    }
}

fn metadata(root: &Path) -> Result<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(root)
        .output()
        .context("cargo metadata does not start")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cargo metadata failed: {complaint}"
    );
    serde_json::from_slice(&output.stdout).context("cargo metadata printed no JSON")
}

fn package_values(metadata: &Value) -> Result<&Vec<Value>> {
    metadata["packages"]
        .as_array()
        .context("cargo metadata names no packages")
}

fn folder_of(root: &Path, package: &Value) -> Result<String> {
    let manifest = package["manifest_path"]
        .as_str()
        .context("a package without a manifest")?;
    let folder = Path::new(manifest)
        .parent()
        .context("a manifest without a folder")?;
    relative(root, folder)
}

fn packages(root: &Path, metadata: &Value) -> Result<Vec<String>> {
    let mut folders = Vec::new();
    for package in package_values(metadata)? {
        folders.push(folder_of(root, package)?);
    }
    folders.sort();
    Ok(folders)
}

fn edges(root: &Path, metadata: &Value) -> Result<Vec<Edge>> {
    let mut edges = Vec::new();
    for package in package_values(metadata)? {
        let from = folder_of(root, package)?;
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let Some(path) = dependency["path"].as_str() else {
                continue;
            };
            let to = relative(root, Path::new(path))?;
            edges.push(Edge {
                from: from.clone(),
                to,
                using: using(&dependency["kind"]),
            });
        }
    }
    Ok(edges)
}

fn using(kind: &Value) -> Use {
    match kind.as_str() {
        Some("build") => Use::Build,
        Some("dev") => Use::Dev,
        _ => Use::Normal,
    }
}

fn relative(root: &Path, path: &Path) -> Result<String> {
    let inside = path
        .strip_prefix(root)
        .with_context(|| format!("{} lies outside the workspace", path.display()))?;
    Ok(inside.to_string_lossy().into_owned())
}

fn read_manifests(root: &Path, packages: &[String]) -> Result<Vec<SourceFile>> {
    let read = |folder: &String| {
        let path = format!("{folder}/Cargo.toml");
        let text = fs::read_to_string(root.join(&path)).with_context(|| path.clone())?;
        Ok(SourceFile { path, text })
    };
    packages.iter().map(read).collect()
}

fn collect_sources(root: &Path, folder: &Path, found: &mut Vec<SourceFile>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let kind = entry.file_type()?;
        if kind.is_dir() && !is_skipped(&entry.file_name().to_string_lossy()) {
            collect_sources(root, &path, found)?;
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            found.push(SourceFile {
                path: relative(root, &path)?,
                text,
            });
        }
    }
    Ok(())
}

fn is_skipped(folder: &str) -> bool {
    folder == "target" || folder.starts_with('.')
}
