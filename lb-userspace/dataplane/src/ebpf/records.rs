//! The numbers on paper: who has which number in the pinned maps, so that the next `lb` can take them over.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::numbers::BackendKey;
use super::publish::Books;

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Record {
    format: u32,
    /// The kernel's number of the maps that this is about.
    maps: u32,
    services: Vec<Named>,
    pools: Vec<Named>,
    backends: Vec<BackendRecord>,
}

#[derive(Serialize, Deserialize)]
struct Named {
    name: String,
    number: u32,
    live: bool,
}

#[derive(Serialize, Deserialize)]
struct BackendRecord {
    pool: String,
    address: String,
    ip: IpAddr,
    port: Option<u16>,
    number: u32,
    live: bool,
}

#[must_use]
pub fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("numbers.json")
}

/// Writes the books down, whole or not at all.
///
/// # Errors
/// As the file system gives them.
pub fn save(state_dir: &Path, maps: u32, books: &Books) -> io::Result<()> {
    let named = |all: &super::numbers::Numbers<lb_model::Name>| {
        let live = all.live().map(|(k, n)| (k, n, true));
        let all = live.chain(all.retired().map(|(k, n)| (k, n, false)));
        all.map(|(k, number, live)| Named { name: k.to_string(), number, live }).collect()
    };
    let backends = books.backends.live().map(|(k, n)| (k, n, true));
    let backends = backends.chain(books.backends.retired().map(|(k, n)| (k, n, false)));
    let record = Record {
        format: FORMAT,
        maps,
        services: named(&books.services),
        pools: named(&books.pools),
        backends: backends
            .map(|(k, number, live)| BackendRecord {
                pool: k.pool.to_string(),
                address: k.configured.to_string(),
                ip: k.ip,
                port: k.port,
                number,
                live,
            })
            .collect(),
    };
    std::fs::create_dir_all(state_dir)?;
    let (whole, part) = (path(state_dir), state_dir.join("numbers.json.new"));
    let mut file = std::fs::File::create(&part)?;
    file.write_all(&serde_json::to_vec_pretty(&record)?)?;
    file.sync_all()?;
    std::fs::rename(part, whole)
}

/// Reads the books of the maps with this number.
///
/// # Errors
/// In words, why there are none.
pub fn load(state_dir: &Path, maps: u32) -> Result<Books, String> {
    let path = path(state_dir);
    let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let record: Record = serde_json::from_slice(&bytes).map_err(|e| format!("{}: {e}", path.display()))?;
    if record.format != FORMAT {
        return Err(format!("{}: format {} is not known", path.display(), record.format));
    }
    if record.maps != maps {
        return Err(format!("{} is about other maps", path.display()));
    }
    let mut books = Books::default();
    let mut good = true;
    for (from, to) in [(record.services, &mut books.services), (record.pools, &mut books.pools)] {
        for n in from {
            good &= n.name.parse().is_ok_and(|name| to.restore(name, n.number, n.live));
        }
    }
    for b in record.backends {
        let key = b.pool.parse().ok().zip(b.address.parse().ok());
        let key = key.map(|(pool, configured)| BackendKey { pool, configured, ip: b.ip, port: b.port });
        good &= key.is_some_and(|k| books.backends.restore(k, b.number, b.live));
    }
    if good { Ok(books) } else { Err(format!("{} contradicts itself", path.display())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_read_back_as_written() {
        let dir = std::env::temp_dir().join(format!("lb-records-{}", std::process::id()));
        let mut books = Books::default();
        books.services.take(&"web".parse().expect("a name"));
        books.services.take(&"dns".parse().expect("a name"));
        books.services.retire(&"web".parse().expect("a name"));
        books.pools.take(&"web".parse().expect("a name"));
        for (address, ip) in [("10.0.0.1:80", "10.0.0.1"), ("web.example:80", "2001:db8::1")] {
            let key = BackendKey {
                pool: "web".parse().expect("a name"),
                configured: address.parse().expect("an address"),
                ip: ip.parse().expect("an ip"),
                port: Some(80),
            };
            books.backends.take(&key);
        }
        save(&dir, 17, &books).expect("written");
        assert_eq!(load(&dir, 17), Ok(books));
        assert!(load(&dir, 18).is_err_and(|e| e.contains("other maps")));
        std::fs::write(path(&dir), "{").expect("written");
        assert!(load(&dir, 17).is_err());
        std::fs::remove_dir_all(&dir).expect("removed");
        assert!(load(&dir, 17).is_err());
    }
}
