//! Measures tag lists and catalog listings of a large registry: 100,000 tags in one repository, 5,000 and 20,000
//! repositories.
//!
//! The data folder is written without the engine, which would sync every link. The first listing reads the folders, the
//! later ones only compare their versions. Times are medians, in milliseconds.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures the time of the system")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]
#![allow(clippy::print_stdout, reason = "the table is the result")]

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use portcullis::{
    access::{Gate, Policy, Principal, Pull, Restriction, Subject},
    clock::Clock,
    oci::{Algorithm, Digest, PageRequest},
    registry::{Config, Registry},
    storage::FilesystemStore,
};

const TAGS: usize = 100_000;
const REPOSITORIES: [usize; 2] = [5_000, 20_000];
const ROUNDS: usize = 15;

#[tokio::main]
async fn main() {
    let subject =
        Subject { principal: Principal::User("bench".parse().unwrap()), restriction: Restriction::unrestricted() };
    let gate = Gate::new(Policy::allow_all_signed_in());
    let (whole, page) = (PageRequest::default(), PageRequest { limit: Some(50), last: Some("t".into()) });
    println!("| list | first | then |\n|---|---|---|");

    let root = tempfile::tempdir().unwrap();
    make_tags(root.path());
    let repository = open(root.path()).open(&gate.authorize::<Pull>(&subject, "many/tags".parse().unwrap()).unwrap());
    row(&format!("tags of {TAGS}, all"), async || repository.tags(&whole).await.unwrap().entries.len()).await;
    row(&format!("tags of {TAGS}, a page of 50"), async || repository.tags(&page).await.unwrap().entries.len()).await;

    let view = gate.authorize_catalog(&subject).unwrap();
    for count in REPOSITORIES {
        let root = tempfile::tempdir().unwrap();
        make_repositories(root.path(), count);
        let registry = open(root.path());
        row(&format!("catalog of {count}, all"), async || registry.catalog(&view, &whole).await.unwrap().entries.len())
            .await;
        row(&format!("catalog of {count}, a page of 50"), async || {
            registry.catalog(&view, &page).await.unwrap().entries.len()
        })
        .await;
        let number = AtomicUsize::new(count);
        row(&format!("catalog of {count}, all, each after a new repository"), async || {
            make_repository(root.path(), number.fetch_add(1, Ordering::Relaxed));
            registry.catalog(&view, &whole).await.unwrap().entries.len()
        })
        .await;
    }
}

fn open(root: &Path) -> Registry {
    // A folder that changed within the last second is read again each time; the benchmark measures unchanged folders.
    std::thread::sleep(Duration::from_millis(1500));
    let clock = Clock::system();
    Registry::new(Arc::new(FilesystemStore::open(root, clock.clone()).unwrap()), Config::default(), clock)
}

async fn row(name: &str, list: impl AsyncFn() -> usize) {
    let time = async || {
        let began = Instant::now();
        assert!(list().await > 0);
        began.elapsed()
    };
    let first = time().await;
    let mut others = Vec::new();
    for _ in 0..ROUNDS {
        others.push(time().await);
    }
    others.sort();
    let milliseconds = |time: Duration| time.as_secs_f64() * 1000.0;
    println!("| {name} | {:.1} ms | {:.1} ms |", milliseconds(first), milliseconds(others[ROUNDS / 2]));
}

fn make_tags(root: &Path) {
    let link = Digest::compute(Algorithm::Sha256, b"manifest").to_string();
    for number in 0..TAGS {
        let tags = "docker/registry/v2/repositories/many/tags/_manifests/tags";
        let folder = root.join(tags).join(format!("v{number}/current"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("link"), &link).unwrap();
    }
}

fn make_repositories(root: &Path, count: usize) {
    (0..count).for_each(|number| make_repository(root, number));
}

fn make_repository(root: &Path, number: usize) {
    let repositories = root.join("docker/registry/v2/repositories");
    fs::create_dir_all(repositories.join(format!("team{}/app{number}/_manifests/tags", number % 100))).unwrap();
}
