//! Tests which entries of lists of referrers are collected.

use super::*;
use crate::paths::quarantine;

fn digest(descriptor: &Value) -> Digest {
    descriptor["digest"].as_str().unwrap().parse().unwrap()
}

impl Fixture {
    fn entry(subject: &Digest, referrer: &Digest) -> StorePath {
        ObjectKey::ReferrerLink { repository: &"a".parse().unwrap(), subject, referrer }.path()
    }

    async fn has_entry(&self, subject: &Digest, referrer: &Digest) -> bool {
        self.store.stat(&Self::entry(subject, referrer)).await.is_ok()
    }

    async fn write_entry(&self, subject: &Digest, referrer: &Digest) {
        self.store.write(&Self::entry(subject, referrer), Bytes::from(referrer.to_string())).await.unwrap();
    }
}

#[tokio::test]
async fn an_entry_of_a_list_of_referrers_without_its_manifest_is_collected_after_the_grace_period() {
    let fixture = Fixture::new();
    let image = fixture.image("a", Some("1"), "layer", None).await;
    let signature = fixture.image("a", None, "signature", Some(&image)).await;
    let (subject, referrer) = (digest(&image), digest(&signature));
    let gone = Digest::compute(Algorithm::Sha512, b"a signature that is gone");
    fixture.write_entry(&subject, &gone).await;
    // The manifest is there and has another subject.
    fixture.write_entry(&gone, &referrer).await;

    assert_eq!(fixture.collect(false, DAY / 2).await.garbage, [], "a put may be under way");
    let before = fixture.objects().await;
    let dry = fixture.collect(true, 2 * DAY).await;
    assert_eq!(fixture.objects().await, before);
    assert_eq!(reasons(&dry), [GarbageReason::OrphanReferrer; 2], "{dry:?}");
    let names: Vec<&str> = dry.garbage.iter().map(|garbage| garbage.name.as_str()).collect();
    assert!(names.contains(&format!("{gone} in the list of {subject}").as_str()), "{names:?}");
    assert_eq!(fixture.collect(false, 2 * DAY).await, dry);

    assert!(!fixture.has_entry(&subject, &gone).await && !fixture.has_entry(&gone, &referrer).await);
    assert!(fixture.has_entry(&subject, &referrer).await);
    assert_eq!(fixture.collect(false, 3 * DAY).await.garbage, []);
}

#[tokio::test]
async fn an_entry_that_a_manifest_justifies_stays_although_the_subject_is_missing() {
    let fixture = Fixture::new();
    let absent = Digest::compute(Algorithm::Sha256, b"pushed later");
    let descriptor = json!({"mediaType": "application/octet-stream", "digest": absent, "size": 12});
    let signature = fixture.image("a", None, "signature", Some(&descriptor)).await;
    assert_eq!(fixture.collect(false, 30 * DAY).await.garbage, []);
    assert!(fixture.has_entry(&absent, &digest(&signature)).await);
}

#[tokio::test]
async fn while_a_manifest_is_in_the_quarantine_its_entry_stays() {
    let fixture = Fixture::new();
    let image = fixture.image("a", Some("1"), "layer", None).await;
    let signature = fixture.image("a", None, "signature", Some(&image)).await;
    let link = ObjectKey::RevisionLink(&"a".parse().unwrap(), &digest(&signature)).path();
    fixture.store.rename(&link, &quarantine(&link)).await.unwrap();
    let report = fixture.collect(false, 30 * DAY).await;
    assert_eq!((report.garbage.len(), report.left_out.len()), (0, 1), "{report:?}");
    assert!(fixture.has_entry(&digest(&image), &digest(&signature)).await);
}

#[tokio::test]
async fn an_untagged_manifest_goes_with_its_entry_and_the_entry_is_not_reported_by_itself() {
    let fixture = Fixture::with_untagged(Untagged::DeleteAfter(DAY));
    let absent = Digest::compute(Algorithm::Sha256, b"an image that was deleted");
    let descriptor = json!({"mediaType": "application/octet-stream", "digest": absent, "size": 12});
    let signature = fixture.image("a", None, "signature", Some(&descriptor)).await;
    let dry = fixture.collect(true, 2 * DAY).await;
    assert_eq!(fixture.collect(false, 2 * DAY).await, dry);
    assert!(!reasons(&dry).contains(&GarbageReason::OrphanReferrer), "{dry:?}");
    assert!(!fixture.has_entry(&absent, &digest(&signature)).await);
}
