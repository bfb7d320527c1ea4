//! Entries in a transparency log (Rekor v1), and what they prove of the time of a signature.

use aws_lc_rs::digest;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, pem::PemObject};
use serde::Deserialize;

use crate::{
    LIST_LIMIT, PROOF_LIMIT,
    json::{Base64, List, Number, decode, encode},
    judge::Subject,
    key::{Message, Verdict},
    root::{Log, Root},
    unverified::NoTime,
};

/// How many bytes an entry or a checkpoint may have. They hold hashes, signatures and a certificate, never a payload.
const ENTRY_LIMIT: usize = 1 << 18;

/// How many lines of signatures of a checkpoint are tried.
const COSIGNATURES: usize = 16;

/// An entry.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Which log it is in.
    pub(crate) log: Vec<u8>,
    /// Its number among all that the log ever had.
    pub(crate) index: i64,
    /// When the log took it, in seconds since 1970.
    pub(crate) integrated: i64,
    /// What the log keeps: a JSON document.
    pub(crate) body: Vec<u8>,
    /// The log's signature of all that (SET).
    pub(crate) promise: Option<Vec<u8>>,
    pub(crate) proof: Option<Proof>,
}

/// That an entry is in the tree that a checkpoint signs (RFC 6962).
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Proof {
    /// The number of the entry in this tree.
    #[serde(default)]
    log_index: Number,
    root_hash: Base64,
    tree_size: Number,
    #[serde(default)]
    hashes: List<Base64, PROOF_LIMIT>,
    checkpoint: Option<Checkpoint>,
}

#[derive(Debug, Clone, Deserialize)]
struct Checkpoint {
    envelope: String,
}

impl Entry {
    /// When the log took the signature by `verifier`, in microseconds since 1970.
    pub(crate) fn time(
        &self,
        root: &Root,
        subject: &Subject<'_>,
        signature: &[u8],
        verifier: &[u8],
    ) -> Result<i64, NoTime> {
        if self.body.len() > ENTRY_LIMIT {
            return Err(NoTime::UnknownEntry);
        }
        let promise = self.promise.as_deref().ok_or(NoTime::NoPromise)?;
        let at = self.integrated.checked_mul(1_000_000).ok_or(NoTime::WrongPromise)?;
        let log =
            root.logs.iter().find(|log| log.id == self.log && log.valid.contains(at)).ok_or(NoTime::UnknownLog)?;
        if log.key.verify(&Message::new(self.promised().as_bytes()), promise) != Verdict::Good {
            return Err(NoTime::WrongPromise);
        }
        if let Some(proof) = &self.proof
            && !proof.holds(log, &self.body)
        {
            return Err(NoTime::WrongProof);
        }
        // Only now: nothing is parsed that the log has not signed.
        let body = Body::parse(&self.body).ok_or(NoTime::UnknownEntry)?;
        if body.is_of(subject, signature, verifier) { Ok(at) } else { Err(NoTime::OtherEntry) }
    }

    /// What a promise signs: JSON in canonical form (RFC 8785).
    fn promised(&self) -> String {
        let (body, log) = (encode(&self.body), hex::encode(&self.log));
        let Self { integrated, index, .. } = self;
        format!(r#"{{"body":"{body}","integratedTime":{integrated},"logID":"{log}","logIndex":{index}}}"#)
    }
}

impl Proof {
    fn holds(&self, log: &Log, body: &[u8]) -> bool {
        let leaf = hash(&[&[0], body]);
        let root = self.root_hash.0.as_slice();
        let hashes = self.hashes.0.iter().map(|hash| hash.0.as_slice());
        let (Ok(index), Ok(size)) = (u64::try_from(self.log_index.0), u64::try_from(self.tree_size.0)) else {
            return false;
        };
        let Some(checkpoint) = &self.checkpoint else { return false };
        root_of(leaf, index, size, hashes).is_some_and(|computed| computed == root)
            && signed_root(&checkpoint.envelope, log, size).is_some_and(|signed| signed == root)
    }
}

/// The root of a tree of `size` leaves whose leaf `index` has that hash (RFC 9162, 2.1.3.2), `None` where the number of
/// hashes is wrong.
pub(crate) fn root_of<'a>(
    leaf: [u8; 32],
    index: u64,
    size: u64,
    hashes: impl Iterator<Item = &'a [u8]>,
) -> Option<[u8; 32]> {
    let mut last = size.checked_sub(1).filter(|&last| index <= last)?;
    let (mut index, mut root) = (index, leaf);
    for sibling in hashes {
        if last == 0 {
            return None;
        }
        if index & 1 == 1 || index == last {
            root = hash(&[&[1], sibling, &root]);
            while index & 1 == 0 && index != 0 {
                index >>= 1;
                last >>= 1;
            }
        } else {
            root = hash(&[&[1], &root, sibling]);
        }
        index >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(root)
}

/// The root hash of a checkpoint of a tree of that size, if the log signed it (C2SP signed-note, tlog-checkpoint).
fn signed_root(note: &str, log: &Log, size: u64) -> Option<Vec<u8>> {
    if note.len() > ENTRY_LIMIT {
        return None;
    }
    let (text, signatures) = note.split_at(note.find("\n\n")? + 1);
    let signed = signatures.lines().filter_map(|line| line.strip_prefix("\u{2014} ")).take(COSIGNATURES).any(|line| {
        // A name, then base64 of four bytes that tell keys apart and the signature.
        let signature = line.rsplit_once(' ').and_then(|(_, text)| decode(text));
        signature.and_then(|bytes| Some(log.key.verify(&Message::new(text.as_bytes()), bytes.get(4..)?)))
            == Some(Verdict::Good)
    });
    let mut lines = text.lines().skip(1);
    let stated: u64 = lines.next()?.parse().ok()?;
    let root = decode(lines.next()?)?;
    (signed && stated == size).then_some(root)
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// What an entry is about, by the kinds of Rekor v1.
#[derive(Deserialize)]
#[serde(tag = "kind", content = "spec", rename_all = "lowercase")]
enum Body {
    /// A signature of bytes.
    HashedRekord(Record),
    /// An envelope.
    Dsse(Dsse),
    /// An envelope, in an older form.
    Intoto(Intoto),
}

#[derive(Deserialize)]
struct Record {
    data: RecordData,
    signature: RecordSignature,
}

#[derive(Deserialize)]
struct RecordData {
    hash: Hash,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RecordSignature {
    content: Base64,
    public_key: RecordKey,
}

#[derive(Deserialize)]
struct RecordKey {
    content: Base64,
}

#[derive(Deserialize)]
struct Hash {
    algorithm: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Dsse {
    payload_hash: Hash,
    signatures: List<DsseSignature, LIST_LIMIT>,
}

#[derive(Deserialize)]
struct DsseSignature {
    signature: Base64,
    verifier: Base64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Intoto {
    content: IntotoContent,
    /// Version 0.0.1 has the key here, and no signature: the log checked it before.
    public_key: Option<Base64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IntotoContent {
    payload_hash: Option<Hash>,
    envelope: Option<IntotoEnvelope>,
}

#[derive(Deserialize)]
struct IntotoEnvelope {
    signatures: List<IntotoSignature, LIST_LIMIT>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IntotoSignature {
    /// Base64 of the base64 text of the signature.
    sig: Base64,
    public_key: Base64,
}

impl Body {
    fn parse(json: &[u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// Whether it says that the verifier's owner signed the subject, and thus.
    fn is_of(&self, subject: &Subject<'_>, signature: &[u8], verifier: &[u8]) -> bool {
        match self {
            Self::HashedRekord(Record { data, signature: logged }) => {
                !subject.envelope
                    && data.hash.is_of(subject.logged)
                    && logged.content.0 == signature
                    && is_verifier(&logged.public_key.content.0, verifier)
            }
            Self::Dsse(Dsse { payload_hash, signatures }) => {
                subject.envelope
                    && payload_hash.is_of(subject.logged)
                    && signatures
                        .0
                        .iter()
                        .any(|logged| logged.signature.0 == signature && is_verifier(&logged.verifier.0, verifier))
            }
            Self::Intoto(Intoto { content, public_key }) => {
                let is_signature = |logged: &IntotoSignature| {
                    let sig = std::str::from_utf8(&logged.sig.0).ok().and_then(decode);
                    sig.as_deref() == Some(signature) && is_verifier(&logged.public_key.0, verifier)
                };
                let signed = match (&content.envelope, public_key) {
                    (Some(envelope), _) => envelope.signatures.0.iter().any(is_signature),
                    (None, Some(key)) => is_verifier(&key.0, verifier),
                    (None, None) => false,
                };
                subject.envelope
                    && signed
                    && content.payload_hash.as_ref().is_some_and(|hash| hash.is_of(subject.logged))
            }
        }
    }
}

impl Hash {
    fn is_of(&self, message: &Message<'_>) -> bool {
        let algorithm = match self.algorithm.as_str() {
            "sha256" => &digest::SHA256,
            "sha384" => &digest::SHA384,
            "sha512" => &digest::SHA512,
            _ => return false,
        };
        hex::decode(&self.value).is_ok_and(|hash| message.has_hash(algorithm, &hash) == Some(true))
    }
}

/// Whether a PEM text is the verifier: a certificate or a SubjectPublicKeyInfo.
fn is_verifier(pem: &[u8], verifier: &[u8]) -> bool {
    CertificateDer::from_pem_slice(pem).is_ok_and(|der| der.as_ref() == verifier)
        || SubjectPublicKeyInfoDer::from_pem_slice(pem).is_ok_and(|der| der.as_ref() == verifier)
}
