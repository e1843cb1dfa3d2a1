//! The programs of the peers: this one, and those in the folders beside it, each built with its own Cargo.lock.

use outlive_benches::Failed;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder beside `src`, and the peers that its program measures.
struct Folder {
    name: &'static str,
    binary: &'static str,
    peers: &'static [&'static str],
}

const FOLDERS: [Folder; 4] = [
    Folder {
        name: "effectum",
        binary: "outlive-peers-effectum",
        peers: &["effectum"],
    },
    Folder {
        name: "durare",
        binary: "outlive-peers-durare",
        peers: &["durare"],
    },
    Folder {
        name: "duroxide",
        binary: "outlive-peers-duroxide",
        peers: &["duroxide"],
    },
    Folder {
        name: "apalis-sqlite",
        binary: "outlive-peers-apalis-sqlite",
        peers: &["apalis-sqlite"],
    },
];
/// Measured by this program itself.
const OWN: [&str; 2] = ["outlive", "raw"];

/// Where each peer's program is, or why there is none.
pub(crate) struct Programs(BTreeMap<&'static str, Result<PathBuf, String>>);

impl Programs {
    /// Builds those that measure the peers named in `only`, or all if it names none.
    pub(crate) fn build(only: &[String]) -> Result<Self, Failed> {
        let wanted = |peer: &&str| only.is_empty() || only.iter().any(|name| name == *peer);
        let own = std::env::current_exe()?;
        let mut programs = BTreeMap::new();
        for peer in OWN.into_iter().filter(wanted) {
            programs.insert(peer, Ok(own.clone()));
        }
        for folder in &FOLDERS {
            let peers: Vec<_> = folder.peers.iter().copied().filter(wanted).collect();
            if peers.is_empty() {
                continue;
            }
            let built = folder.build(&own).map_err(|failed| failed.to_string());
            programs.extend(peers.into_iter().map(|peer| (peer, built.clone())));
        }
        if let Some(unknown) = only
            .iter()
            .find(|name| !programs.contains_key(name.as_str()))
        {
            return Err(format!("{unknown} is no peer").into());
        }
        Ok(Self(programs))
    }

    /// outlive first, the raw store last.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &'static str> {
        let others = FOLDERS
            .iter()
            .flat_map(|folder| folder.peers.iter().copied());
        let all = [OWN[0]].into_iter().chain(others).chain([OWN[1]]);
        all.filter(|peer| self.0.contains_key(peer))
    }

    /// Why there is no program for a peer.
    pub(crate) fn unbuilt(&self, peer: &str) -> Option<String> {
        self.0.get(peer)?.as_ref().err().cloned()
    }

    /// The program of a peer that has one; else one that cannot be started.
    pub(crate) fn path(&self, peer: &str) -> PathBuf {
        let program = self.0.get(peer).and_then(|built| built.as_ref().ok());
        program.cloned().unwrap_or_default()
    }

    /// The version of a peer in the lock file it was built with.
    pub(crate) fn version(&self, peer: &str) -> Option<String> {
        let package = if peer == OWN[1] { "redb" } else { peer };
        let folder = FOLDERS.iter().find(|folder| folder.peers.contains(&peer));
        let root = here();
        let lock = folder.map_or(root.clone(), |folder| root.join(folder.name));
        let text = std::fs::read_to_string(lock.join("Cargo.lock")).ok()?;
        let named = text.split_once(&format!("name = \"{package}\"\n"))?.1;
        let line = named.lines().next()?.strip_prefix("version = \"")?;
        Some(line.trim_end_matches('"').to_owned())
    }
}

impl Folder {
    /// Builds it where this program, `own`, was built: what they share is built once.
    fn build(&self, own: &Path) -> Result<PathBuf, Failed> {
        let target = own.parent().and_then(Path::parent);
        let target = target.ok_or("this program lies in no target directory")?;
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let built = Command::new(cargo)
            .args(["build", "--release", "--locked", "--manifest-path"])
            .arg(here().join(self.name).join("Cargo.toml"))
            .arg("--target-dir")
            .arg(target)
            .status()?;
        if !built.success() {
            return Err("its program does not build here".into());
        }
        Ok(target.join("release").join(self.binary))
    }
}

fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
