//! Microbenchmarks of the steps of a request: parsing the endpoint, verifying credentials, evaluating the policy,
//! hashing.
//!
//! Run it with `cargo bench --bench micro`, with a part of a benchmark's name after `--` to select some. Uploads use
//! the SHA-256 of `sha2`, whose state can be saved between requests. The one of the TLS library is measured as well, to
//! check that both use the processor's SHA instructions.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures the time of the system")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]
#![allow(clippy::print_stdout, reason = "the processor's features belong beside the numbers")]
#![allow(missing_docs, reason = "criterion's macros make functions without")]

use std::{
    fs,
    hint::black_box,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::stream;
use http::Method;
use portcullis::{
    access::{Gate, Policy, Principal, Pull, Push, Restriction, Rule, Scope, Subject, SubjectMatcher},
    api::Endpoint,
    auth::{
        BearerTokenService, Credentials, KeyIdForm, LegacyHashes, Password, PasswordVerifier, SigningKeys,
        TokenAlgorithm, TokenConfig, Users, password_verifier::HashingLimits,
    },
    clock::Clock,
    oci::{Algorithm, Digest, RepositoryName},
    registry::{BodyError, Config, Registry},
    storage::{MemoryStore, READ_CHUNK_LEN},
};

const UPLOAD: usize = 8 << 20;

fn requests(criterion: &mut Criterion) {
    let blob = format!("/v2/team/backend/api/blobs/{}", Digest::compute(Algorithm::Sha256, b""));
    for (name, method, path, query) in [
        ("ping", Method::GET, "/v2/", None),
        ("manifest by tag", Method::GET, "/v2/team/backend/api/manifests/v1.2.3", None),
        ("blob", Method::GET, blob.as_str(), None),
        ("catalog page", Method::GET, "/v2/_catalog", Some("n=100&last=team%2Fapi")),
    ] {
        criterion.bench_function(&format!("endpoint: {name}"), |bencher| {
            bencher.iter(|| Endpoint::parse(black_box(&method), black_box(path), query).unwrap());
        });
    }
}

fn tokens(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    for algorithm in TokenAlgorithm::ALL {
        let config = TokenConfig {
            lifetime: TokenConfig::DEFAULT_LIFETIME,
            issuer: "registry.example.com".into(),
            service: "registry.example.com".into(),
            key: folder.path().join(algorithm.as_str()),
            algorithm,
            key_id: KeyIdForm::default(),
            certificate_chain: false,
            refresh_lifetime: Duration::from_secs(86_400),
            upload_grace: None,
        };
        let keys = Arc::new(SigningKeys::load_or_create(config.clone(), now).unwrap());
        let fresh = || BearerTokenService::new(Arc::clone(&keys), config.clone(), Clock::system()).unwrap();
        let scopes = Scope::parse_all(["repository:team/backend/api:pull,push"]);
        let tokens = fresh();
        let issued = tokens.issue(&tokens.signer(), &Principal::Anonymous, None, &scopes, now).unwrap();
        let header = format!("Bearer {}", issued.token);
        let Ok(Credentials::Bearer(token)) = Credentials::parse(header.as_bytes()) else { panic!("a bearer token") };
        criterion.bench_function(&format!("token: {} verified for the first time", algorithm.as_str()), |bencher| {
            // Each of these has an empty cache.
            bencher.iter_batched(
                fresh,
                |new| assert!(new.verify(black_box(&token), now).is_ok()),
                BatchSize::SmallInput,
            );
        });
        criterion.bench_function(&format!("token: {} cached", algorithm.as_str()), |bencher| {
            bencher.iter(|| assert!(tokens.verify(black_box(&token), now).is_ok()));
        });
    }
}

fn passwords(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("htpasswd");
    fs::write(&file, format!("alice:{}\n", bcrypt::hash("wonderland", 10).unwrap())).unwrap();
    let users = Arc::new(Users::load(file, SystemTime::now()).unwrap());
    let checker =
        PasswordVerifier::new(users, LegacyHashes::Refuse, HashingLimits::default(), Clock::system()).unwrap();
    let password = Password::new("wonderland".into());
    let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
    criterion.bench_function("password: cached, bcrypt at cost 10", |bencher| {
        bencher.iter(|| {
            let verified = runtime.block_on(checker.verify("alice", black_box(&password), from));
            assert!(verified.is_ok());
        });
    });
}

fn policy(criterion: &mut Criterion) {
    let rule = |number: usize| Rule {
        users: vec![SubjectMatcher::SignedIn],
        repositories: vec![
            format!("team{number}/**/cache-*").parse().unwrap(),
            format!("team{number}/*").parse().unwrap(),
        ],
        actions: portcullis::access::Action::ALL.into_iter().collect(),
    };
    let gate = Gate::new(Policy::new((1..=100).map(rule).collect()));
    let subject =
        Subject { principal: Principal::User("alice".parse().unwrap()), restriction: Restriction::unrestricted() };
    for (name, repository) in [("first", "team1/app"), ("last", "team100/app")] {
        let repository: RepositoryName = repository.parse().unwrap();
        criterion.bench_function(&format!("policy: the {name} of 100 rules"), |bencher| {
            bencher.iter(|| gate.authorize::<Pull>(black_box(&subject), repository.clone()).unwrap());
        });
    }
}

fn hashing(criterion: &mut Criterion) {
    let bytes = vec![7; 1 << 20];
    let mut group = criterion.benchmark_group("hash of 1 MiB");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    for algorithm in Algorithm::ALL {
        group.bench_function(algorithm.as_str(), |bencher| {
            bencher.iter(|| Digest::compute(algorithm, black_box(&bytes)));
        });
    }
    for (name, algorithm) in
        [("sha256 of aws-lc", &aws_lc_rs::digest::SHA256), ("sha512 of aws-lc", &aws_lc_rs::digest::SHA512)]
    {
        group.bench_function(name, |bencher| bencher.iter(|| aws_lc_rs::digest::digest(algorithm, black_box(&bytes))));
    }
    group.finish();
}

fn uploads(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let registry = Registry::new(Arc::new(MemoryStore::new(Clock::system())), Config::default(), Clock::system());
    let gate = Gate::new(Policy::allow_all_signed_in());
    let subject =
        Subject { principal: Principal::User("alice".parse().unwrap()), restriction: Restriction::unrestricted() };
    let repository = registry.open(&gate.authorize::<Push>(&subject, "team/app".parse().unwrap()).unwrap());
    let content = Bytes::from(vec![7; UPLOAD]);
    let digest = Digest::compute(Algorithm::Sha256, &content);
    let mut group = criterion.benchmark_group("upload");
    group.throughput(Throughput::Bytes(UPLOAD as u64));
    group.bench_function("8 MiB, verified, into memory", |bencher| {
        bencher.iter(|| {
            runtime.block_on(async {
                let pieces: Vec<_> =
                    content.chunks(READ_CHUNK_LEN).map(|piece| Ok::<_, BodyError>(content.slice_ref(piece))).collect();
                let id = repository.begin_upload(Algorithm::Sha256, SystemTime::now()).await.unwrap();
                let upload = repository.open_upload(id).await.unwrap();
                let blob = upload.finish(stream::iter(pieces), None, digest).await.unwrap();
                repository.commit(blob).await.unwrap()
            })
        });
    });
    group.finish();
}

/// Prints whether the processor has SHA instructions: without them SHA-256 is five times as slow in every
/// implementation.
fn machine(_: &mut Criterion) {
    #[cfg(target_arch = "x86_64")]
    println!("SHA extensions of this processor: {}", if is_x86_feature_detected!("sha") { "yes" } else { "no" });
    #[cfg(target_arch = "aarch64")]
    println!("SHA-256 instructions: {}", if std::arch::is_aarch64_feature_detected!("sha2") { "yes" } else { "no" });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2)).without_plots();
    targets = machine, requests, tokens, passwords, policy, hashing, uploads
}
criterion_main!(benches);
