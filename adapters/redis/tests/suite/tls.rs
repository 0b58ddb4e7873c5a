//! Encrypted connections: who trusts whom, and what is said where they do not.

use std::fs;
use std::path::PathBuf;

use shiftwork_test_kit::Certificates;

use crate::support::*;

/// How a process is told whom to trust, and what to show.
#[derive(Clone, Default)]
struct Files {
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Files {
    fn trusting(certificates: &Certificates) -> Self {
        Self { ca: Some(certificates.ca()), ..Self::default() }
    }

    fn showing(self, (cert, key): (PathBuf, PathBuf)) -> Self {
        Self { cert: Some(cert), key: Some(key), ..self }
    }

    fn open(&self, url: &str) -> Result<Arc<RedisAdapter>> {
        let mut connection = connection(url, "test", |_| {});
        for (name, path) in [
            ("JOBS_REDIS_TLS_CA", &self.ca),
            ("JOBS_REDIS_TLS_CERT", &self.cert),
            ("JOBS_REDIS_TLS_KEY", &self.key),
        ] {
            if let Some(path) = path {
                connection.variables.insert(name, path.display().to_string());
            }
        }
        RedisAdapter::new(connection).map(Arc::new)
    }
}

/// A job goes all its way.
async fn is_used(adapter: &Arc<RedisAdapter>) {
    adapter.enqueue(&work(), jobs(1)).await.unwrap();
    let mut worker = Worker::new(adapter, &work());
    assert_eq!(worker.claim(1).await.len(), 1);
    adapter.shutdown().await.unwrap();
}

/// What a process is told that cannot use the server; at once, and not when its time is over.
async fn refusal(files: &Files, url: &str) -> AdapterError {
    let adapter = files.open(url).unwrap();
    let (answer, took) = timed(adapter.ping()).await;
    assert!(took < PATIENCE, "{took:?}");
    answer.unwrap_err()
}

#[tokio::test]
async fn a_server_is_used_whose_certificate_is_signed_by_whom_is_trusted() {
    let certificates = Certificates::new();
    let server = RedisServer::options().tls(&certificates).start();
    let adapter = Files::trusting(&certificates).open(&server.tls_url()).unwrap();
    is_used(&adapter).await;
}

#[tokio::test]
async fn the_heart_beats_over_tls_too() {
    let certificates = Certificates::new();
    // Nobody gets by without a certificate.
    let server = RedisServer::options().mutual_tls(&certificates).start();
    let files = Files::trusting(&certificates).showing(certificates.client());
    let adapter = files.open(&server.tls_url()).unwrap();
    assert!(adapter.heart().await.unwrap().beat(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_server_that_nobody_trusts_is_refused_with_the_variable_that_says_whom_to_trust() {
    let certificates = Certificates::new();
    let server = RedisServer::options().tls(&certificates).start();
    for files in [Files::default(), Files::trusting(&Certificates::new())] {
        let error = refusal(&files, &server.tls_url()).await;
        let says = ["nobody whom this process trusts", "JOBS_REDIS_TLS_CA", "rediss://127.0.0.1"];
        assert_error(&error, ErrorKind::Denied, Effect::None, &says);
    }
}

#[tokio::test]
async fn a_server_of_another_name_is_refused() {
    let certificates = Certificates::new();
    let server = RedisServer::options().tls(&certificates).start();
    let url = server.tls_url().replace("127.0.0.1", "localhost");
    let error = refusal(&Files::trusting(&certificates), &url).await;
    let says = ["localhost", "127.0.0.1", "JOBS_REDIS_URL"];
    assert_error(&error, ErrorKind::Denied, Effect::None, &says);
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_one() {
    let certificates = Certificates::new();
    let server = RedisServer::options().mutual_tls(&certificates).start();
    let trusting = Files::trusting(&certificates);

    let error = refusal(&trusting, &server.tls_url()).await;
    let says = ["wants a certificate", "JOBS_REDIS_TLS_CERT", "JOBS_REDIS_TLS_KEY"];
    assert_error(&error, ErrorKind::Denied, Effect::None, &says);

    let strangers = trusting.clone().showing(Certificates::new().client());
    // Its directory is gone by now: what was checked when it was opened is not read again.
    let Err(error) = strangers.open(&server.tls_url()) else { panic!("it cannot be read") };
    assert_error(&error, ErrorKind::Invalid, Effect::None, &["JOBS_REDIS_TLS_CERT", "read"]);

    let others = Certificates::new();
    let error = refusal(&trusting.clone().showing(others.client()), &server.tls_url()).await;
    let says = ["refuses this process's TLS", "JOBS_REDIS_TLS_CERT"];
    assert_error(&error, ErrorKind::Denied, Effect::None, &says);

    let adapter = trusting.showing(certificates.client()).open(&server.tls_url()).unwrap();
    is_used(&adapter).await;
}

#[tokio::test]
async fn a_server_without_tls_is_suspected_of_it() {
    let certificates = Certificates::new();
    let server = RedisServer::start();
    let url = server.url().replace("redis://", "rediss://");
    let adapter = Files::trusting(&certificates).open(&url).unwrap();
    let error = adapter.ping().await.unwrap_err();
    assert_error(&error, ErrorKind::Timeout, Effect::None, &["does it speak TLS", "rediss://"]);
}

/// Certificates are renewed while processes run.
#[tokio::test]
async fn files_are_read_again_with_each_connection() {
    let (old, new) = (Certificates::new(), Certificates::new());
    let server = RedisServer::options().tls(&new).start();
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    fs::copy(old.ca(), &ca).unwrap();
    let files = Files { ca: Some(ca.clone()), ..Files::default() };
    let adapter = files.open(&server.tls_url()).unwrap();
    assert_eq!(adapter.ping().await.unwrap_err().kind(), ErrorKind::Denied);
    fs::copy(new.ca(), &ca).unwrap();
    let answered = async {
        while adapter.ping().await.is_err() {
            sleep(ms(20)).await;
        }
    };
    soon("it is trusted", answered).await;
}

#[tokio::test]
async fn what_does_not_fit_together_is_refused_before_anything_is_sent() {
    let certificates = Certificates::new();
    let (cert, key) = certificates.client();
    let url = "rediss://me:hunter2@127.0.0.1:1";
    let refused = |files: Files, url: &str, says: &[&str]| {
        let Err(error) = files.open(url) else { panic!("{says:?}: it is taken") };
        assert_error(&error, ErrorKind::Invalid, Effect::None, says);
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    };
    let trusting = Files::trusting(&certificates);
    let plain = "redis://me:hunter2@127.0.0.1:1";
    refused(trusting.clone(), plain, &["JOBS_REDIS_TLS_CA", "not be encrypted", "rediss://"]);
    let only_cert = Files { cert: Some(cert.clone()), ..Files::default() };
    refused(only_cert, url, &["JOBS_REDIS_TLS_CERT is set and JOBS_REDIS_TLS_KEY is not"]);
    let only_key = Files { key: Some(key.clone()), ..Files::default() };
    refused(only_key, url, &["JOBS_REDIS_TLS_KEY is set and JOBS_REDIS_TLS_CERT is not"]);
    let nowhere = Files { ca: Some("/nowhere/ca.pem".into()), ..Files::default() };
    refused(nowhere, url, &["JOBS_REDIS_TLS_CA", "/nowhere/ca.pem", "cannot be read"]);
    let directory = tempfile::tempdir().unwrap();
    let no_pem = directory.path().join("ca.der");
    fs::write(&no_pem, [0x30, 0x82]).unwrap();
    refused(Files { ca: Some(no_pem), ..Files::default() }, url, &["no PEM file"]);
    let swapped = trusting.showing((key, cert));
    refused(swapped, url, &["JOBS_REDIS_TLS_KEY", "PEM"]);
    refused(Files::default(), "rediss://me:hunter2@127.0.0.1:1#insecure", &["JOBS_REDIS_TLS_CA"]);
}
