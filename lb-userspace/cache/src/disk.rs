//! The disk tier: foyer's block engine behind memory, on threads of its own. Whatever it does, no request fails.

use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, OnceLock, Weak, mpsc};
use std::time::Duration;

use bytes::Bytes;
use foyer::{
    BlockEngineConfig, DeviceBuilder as _, FsDeviceBuilder, HybridCache, HybridCacheBuilder, HybridCachePolicy, Load,
    RecoverMode, Spawner,
};
use http::HeaderMap;
use lb_model::http::DiskCache;
use tokio::runtime::Runtime;

use crate::codec::{Item, decode, encode, encode_varies, key_of_stored, variant_key};
use crate::key::Key;
use crate::ledger::Ledger;
use crate::store::Store;
use crate::stored::Stored;

type Tier = HybridCache<String, Bytes>;

/// A slower disk is no help: the backend is asked instead.
const READ_LIMIT: Duration = Duration::from_secs(1);
/// How long a reload waits for a tier to be open, and a shutdown for it to be written.
const PATIENCE: Duration = Duration::from_secs(2);
const LOCK_RETRY: Duration = Duration::from_millis(200);
/// foyer keeps what it writes in memory for a moment; what is read often is in ours.
const WRITE_BUFFER: usize = 4 << 20;

/// Disks are slow: they have two threads of their own, started with the first tier.
static RUNTIME: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("lb-cache-disk").enable_all().build();
    runtime.inspect_err(|e| tracing::error!(error = %e, "no threads for the disk cache")).ok()
});

/// One directory. It opens in the background and is empty until then.
#[derive(Debug)]
pub(crate) struct Disk {
    open: OnceLock<Open>,
    /// Bytes of the largest value.
    largest: usize,
}

#[derive(Debug)]
struct Open {
    tier: Tier,
    /// To the one task that writes, in order.
    jobs: tokio::sync::mpsc::Sender<Job>,
}

/// For the task that writes. When nobody can send any more, it closes the tier.
#[derive(Debug)]
enum Job {
    Put {
        url: Arc<str>,
        stored: Arc<Stored>,
        ledger: u64,
    },
    /// Closes the tier and says so.
    Close(mpsc::Sender<()>),
}

/// Responses that wait to be written; more are left out.
const BACKLOG: usize = 256;

impl Disk {
    /// Starts to open it. The receiver hears how that went; silence: it goes on.
    pub(crate) fn start(
        config: &DiskCache,
        max_object: u64,
        ledger: &Arc<Ledger>,
    ) -> (Arc<Self>, mpsc::Receiver<Result<(), String>>) {
        let block = block_size(config.size, max_object);
        let disk = Arc::new(Self { open: OnceLock::new(), largest: block.saturating_sub(64 << 10) });
        let (tell, told) = mpsc::channel();
        let opening = Opening { path: config.path.clone(), size: config.size, block, ledger: Arc::downgrade(ledger) };
        match &*RUNTIME {
            Some(runtime) => {
                let weak = Arc::downgrade(&disk);
                runtime.spawn(async move {
                    let result = opening.run(&weak, &tell).await;
                    if let Err(why) = &result {
                        tracing::error!(path = %opening.path.display(), why, "the disk cache is off");
                    }
                    let _ = tell.send(result);
                });
            }
            None => drop(tell.send(Err("no threads".to_owned()))),
        }
        (disk, told)
    }

    /// A response on disk that fits; also put into memory.
    pub(crate) async fn find(&self, key: &Key, request: &HeaderMap, store: &Store) -> Option<Arc<Stored>> {
        let open = self.open.get()?;
        let ledger = store.ledger.id();
        let stored = match decode(&open.load(key.url.to_string()).await?, ledger)? {
            Item::Response(stored) => stored,
            Item::Varies(names) => match decode(&open.load(variant_key(&key.url, &names, request)).await?, ledger)? {
                Item::Response(stored) => stored,
                Item::Varies(_) => return None,
            },
        };
        if !stored.fits(request) || store.ledger.covers(&key.url, &stored.tags, stored.born) {
            return None;
        }
        let stored = Arc::new(*stored);
        store.adopt(key, &stored);
        Some(stored)
    }

    pub(crate) fn may_have(&self, key: &Key) -> bool {
        self.open.get().is_some_and(|open| calmly(|| open.tier.storage().may_contains(&*key.url)) == Some(true))
    }

    /// One more that went, if memory did not have it.
    pub(crate) fn remove(&self, key: &Key) -> bool {
        let there = self.may_have(key);
        if let Some(open) = self.open.get().filter(|_| there) {
            let _ = calmly(|| open.tier.remove(&*key.url));
        }
        there
    }

    /// Written when the disk finds time; what does not fit or comes too fast is left out.
    pub(crate) fn put(&self, key: &Key, stored: &Arc<Stored>, ledger: u64) {
        let Some(open) = self.open.get() else { return };
        if usize::try_from(stored.weight()).is_ok_and(|weight| weight <= self.largest) {
            let _ = open.jobs.try_send(Job::Put { url: key.url.clone(), stored: stored.clone(), ledger });
        }
    }

    /// Writes what is not written yet. Blocks, at most two seconds.
    pub(crate) fn close(&self) {
        let Some(open) = self.open.get() else { return };
        let (tell, told) = mpsc::channel();
        let mut job = Job::Close(tell);
        // The queue may be full for a moment; the writer empties it.
        for _ in 0..PATIENCE.as_millis() {
            match open.jobs.try_send(job) {
                Ok(()) => break,
                Err(tokio::sync::mpsc::error::TrySendError::Closed(_)) => return,
                Err(tokio::sync::mpsc::error::TrySendError::Full(back)) => job = back,
            }
            let _ = told.recv_timeout(Duration::from_millis(1));
        }
        if told.recv_timeout(PATIENCE).is_err() {
            tracing::error!("the disk cache was not written in time");
        }
    }
}

fn put(tier: &Tier, url: &str, stored: &Stored, ledger: u64) {
    if !stored.selects.is_empty() {
        let names = stored.selects.iter().map(|(name, _)| name.clone());
        tier.storage_writer(url.to_owned()).insert(encode_varies(names, ledger));
    }
    tier.storage_writer(key_of_stored(url, stored)).insert(encode(stored, ledger));
}

/// Keeps the lock until everything is written.
async fn write(tier: Tier, mut jobs: tokio::sync::mpsc::Receiver<Job>, lock: File) {
    let mut done = None;
    while let Some(job) = jobs.recv().await {
        match job {
            Job::Put { url, stored, ledger } => {
                if calmly(|| put(&tier, &url, &stored, ledger)).is_none() {
                    tracing::error!("the disk cache is broken; nothing is written to it any more");
                    break;
                }
            }
            Job::Close(tell) => {
                done = Some(tell);
                break;
            }
        }
    }
    if let Err(e) = tier.close().await {
        tracing::error!(error = %e, "the disk cache was not closed well");
    }
    drop(lock);
    if let Some(done) = done {
        let _ = done.send(());
    }
}

impl Open {
    async fn load(&self, key: String) -> Option<Bytes> {
        let storage = self.tier.storage();
        if calmly(|| storage.may_contains(&key)) != Some(true) {
            return None;
        }
        let storage = storage.clone();
        let load = async move {
            match tokio::time::timeout(READ_LIMIT, storage.load(&key)).await {
                Ok(Ok(Load::Entry { key: found, value, .. })) => (found == key).then_some(value),
                Ok(Ok(Load::Piece { piece, .. })) => (*piece.key() == key).then(|| piece.value().clone()),
                Ok(Ok(Load::Throttled | Load::Miss)) => None,
                Ok(Err(e)) => {
                    tracing::debug!(error = %e, "the disk cache cannot read");
                    None
                }
                Err(_) => None,
            }
        };
        RUNTIME.as_ref()?.spawn(load).await.ok()?
    }
}

/// One value must fit into one block.
fn block_size(size: u64, max_object: u64) -> usize {
    let wanted = max_object.saturating_add(256 << 10).clamp(1 << 20, 64 << 20);
    usize::try_from((wanted.min(size / 4) / 4096 * 4096).max(64 << 10)).unwrap_or(1 << 20)
}

struct Opening {
    path: PathBuf,
    size: u64,
    block: usize,
    ledger: Weak<Ledger>,
}

impl Opening {
    async fn run(&self, disk: &Weak<Disk>, tell: &mpsc::Sender<Result<(), String>>) -> Result<(), String> {
        std::fs::create_dir_all(&self.path).map_err(|e| e.to_string())?;
        let lock = self.lock(disk, tell).await?;
        // Enough to tell one journal from another.
        let id = std::hash::BuildHasher::hash_one(&foldhash::quality::RandomState::default(), std::process::id());
        let ledger = self.ledger.upgrade().ok_or("the route is gone")?;
        ledger.attach(&self.path.join("purges"), id).map_err(|e| e.to_string())?;
        let blocks = self.path.join("blocks");
        // Blocks of another size would be read wrongly, and too many would stay for ever.
        let shape = format!("{} {}", self.size, self.block);
        if std::fs::read_to_string(self.path.join("shape")).is_ok_and(|old| old != shape) {
            std::fs::remove_dir_all(&blocks).map_err(|e| e.to_string())?;
        }
        std::fs::write(self.path.join("shape"), shape).map_err(|e| e.to_string())?;
        let tier = self.tier().await?;
        if let Err(why) = reserve(&blocks) {
            let _ = tier.close().await;
            let _ = std::fs::remove_dir_all(&blocks);
            return Err(why);
        }
        let (jobs, queue) = tokio::sync::mpsc::channel(BACKLOG);
        tokio::spawn(write(tier.clone(), queue, lock));
        if let Some(disk) = disk.upgrade() {
            let _ = disk.open.set(Open { tier, jobs });
        }
        Ok(())
    }

    /// Waits for as long as another process, or what this one had before a reload, still writes there.
    async fn lock(&self, disk: &Weak<Disk>, tell: &mpsc::Sender<Result<(), String>>) -> Result<File, String> {
        let file = File::options().create(true).write(true).truncate(false).open(self.path.join("lock"));
        let file = file.map_err(|e| e.to_string())?;
        let mut said = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(e)) => return Err(e.to_string()),
                Err(TryLockError::WouldBlock) if disk.strong_count() == 0 => {
                    return Err("not wanted any more".to_owned());
                }
                Err(TryLockError::WouldBlock) => {
                    if said {
                        let _ = tell.send(Err("in use; it will be used as soon as it is free".to_owned()));
                    }
                    said = true;
                    tokio::time::sleep(LOCK_RETRY).await;
                }
            }
        }
    }

    async fn tier(&self) -> Result<Tier, String> {
        let device = FsDeviceBuilder::new(self.path.join("blocks"))
            .with_capacity(usize::try_from(self.size).unwrap_or(usize::MAX))
            .build()
            .map_err(|e| e.to_string())?;
        let engine = BlockEngineConfig::new(device)
            .with_block_size(self.block)
            .with_buffer_pool_size((16 << 20).max(self.block * 2));
        HybridCacheBuilder::new()
            .with_name("lb")
            .with_policy(HybridCachePolicy::WriteOnInsertion)
            .with_flush_on_close(false)
            .memory(WRITE_BUFFER)
            .with_weighter(|key: &String, value: &Bytes| key.len() + value.len())
            .storage()
            .with_engine_config(engine)
            .with_recover_mode(RecoverMode::Quiet)
            .with_spawner(Spawner::current())
            .build()
            .await
            .map_err(|e| e.to_string())
    }
}

/// Takes the room that the tier will need, so that a disk that others fill does not break it.
fn reserve(blocks: &std::path::Path) -> Result<(), String> {
    for entry in std::fs::read_dir(blocks).map_err(|e| e.to_string())? {
        let path = entry.map_err(|e| e.to_string())?.path();
        let file = File::options().write(true).open(&path).map_err(|e| e.to_string())?;
        let length = file.metadata().map_err(|e| e.to_string())?.len();
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, length) {
            // Where rooms cannot be taken in advance, writes fail one by one.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {}
            Err(e) => return Err(format!("{length} bytes cannot be reserved: {}", std::io::Error::from(e))),
        }
    }
    Ok(())
}

/// foyer panics where a disk is broken; a request does not.
fn calmly<T>(call: impl FnOnce() -> T) -> Option<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).ok()
}

/// Waits for a tier to open.
pub(crate) fn opened(told: &mpsc::Receiver<Result<(), String>>) -> Result<(), String> {
    told.recv_timeout(PATIENCE).unwrap_or(Ok(()))
}
