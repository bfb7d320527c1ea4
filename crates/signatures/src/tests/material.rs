//! Keys, authorities and logs that tests sign with.

use aws_lc_rs::digest;
use der::{Encode as _, asn1::ObjectIdentifier};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber, SigningKey as _, date_time_ymd,
};
use serde_json::{Value, json};

use crate::{
    Trust,
    asn1::{GENERALIZED_TIME, INTEGER, Items, OCTET_STRING, SEQUENCE, SET, UTF8_STRING, context, item},
    envelope::encoded,
    json::encode,
};

pub(super) const TYPE: &str = "application/vnd.in-toto+json";
pub(super) const PAYLOAD: &[u8] = b"{\"_type\":\"https://in-toto.io/Statement/v1\"}";
pub(super) const ISSUER: &str = "https://login.example.com";
pub(super) const SUBJECT: &str = "https://git.example.com/ml/train/ci.yml@refs/heads/main";

/// Noon of the day on which certificates are valid, in seconds since 1970.
pub(super) const NOON: i64 = 1_767_268_800;
/// As timestamps write it.
pub(super) const NOON_TEXT: &str = "20260101120000Z";
pub(super) const DAY: i64 = 86_400;

pub(super) fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap()
}

pub(super) fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest::digest(&digest::SHA256, bytes).as_ref().to_vec()
}

/// The signature of an envelope around [`PAYLOAD`].
pub(super) fn sign(key: &KeyPair) -> Vec<u8> {
    key.sign(&encoded(TYPE, PAYLOAD)).unwrap()
}

/// An envelope around [`PAYLOAD`].
pub(super) fn envelope_json(signatures: &[&[u8]]) -> Value {
    let signatures: Vec<_> = signatures.iter().map(|bytes| json!({"keyid": "", "sig": encode(bytes)})).collect();
    json!({"payloadType": TYPE, "payload": encode(PAYLOAD), "signatures": signatures})
}

pub(super) fn bundle_json(envelope: Value, material: Value) -> Value {
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": material,
        "dsseEnvelope": envelope,
    })
}

/// All that a trusted root names.
pub(super) struct World {
    authority: Issuer<'static, KeyPair>,
    authority_der: Vec<u8>,
    pub(super) log: KeyPair,
    certificate_log: KeyPair,
    stamper: KeyPair,
    stamper_der: Vec<u8>,
    stamp_authority_der: Vec<u8>,
}

/// What a signer has.
pub(super) struct Signer {
    pub(super) key: KeyPair,
    pub(super) der: Vec<u8>,
    pub(super) pem: String,
}

impl World {
    pub(super) fn new() -> Self {
        let (authority, authority_der) = authority("authority");
        let (stamp_authority, stamp_authority_der) = self::authority("stamp authority");
        let stamper = key();
        let mut params = CertificateParams::default();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::TimeStamping];
        let stamper_der = params.signed_by(&stamper, &stamp_authority).unwrap().der().to_vec();
        let (log, certificate_log) = (key(), key());
        Self { authority, authority_der, log, certificate_log, stamper, stamper_der, stamp_authority_der }
    }

    /// The trusted root, without logs of certificates.
    pub(super) fn root(&self) -> Value {
        let log = json!([{"publicKey": {"rawBytes": encode(&spki(&self.log)), "validFor": {"start": "2020-01-01T00:00:00Z"}},
            "logId": {"keyId": encode(&sha256(&spki(&self.log)))}}]);
        let chain = |certificates: &[&[u8]]| {
            let certificates: Vec<_> = certificates.iter().map(|der| json!({"rawBytes": encode(der)})).collect();
            json!([{"certChain": {"certificates": certificates}, "validFor": {"start": "2020-01-01T00:00:00Z"}}])
        };
        json!({
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": log,
            "certificateAuthorities": chain(&[&self.authority_der]),
            "timestampAuthorities": chain(&[&self.stamper_der, &self.stamp_authority_der]),
        })
    }

    /// The root with the log of certificates.
    pub(super) fn root_with_certificate_log(&self) -> Value {
        let mut root = self.root();
        root["ctlogs"] = json!([{"publicKey": {"rawBytes": encode(&spki(&self.certificate_log))}}]);
        root
    }

    pub(super) fn trust(&self) -> Trust {
        trust(&self.root())
    }

    /// Somebody with a certificate for [`ISSUER`] and [`SUBJECT`].
    pub(super) fn signer(&self) -> Signer {
        self.certified(params())
    }

    pub(super) fn certified(&self, params: CertificateParams) -> Signer {
        let key = key();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        Signer { key, der: certificate.der().to_vec(), pem: certificate.pem() }
    }

    /// Like [`Self::signer`], and the log of certificates has promised to log the certificate.
    pub(super) fn logged_signer(&self) -> Signer {
        let key = key();
        let mut params = params();
        params.serial_number = Some(SerialNumber::from(7));
        let unlogged = params.signed_by(&key, &self.authority).unwrap();
        let signed = Items::within(unlogged.der(), SEQUENCE).unwrap().take(SEQUENCE).unwrap().whole.to_vec();
        let at = u64::try_from(NOON * 1000).unwrap().to_be_bytes();
        let length = u32::try_from(signed.len()).unwrap().to_be_bytes();
        let issuer = sha256(&spki(self.authority.key()));
        let message = [&[0, 0], &at[..], &[0, 1], &issuer, &length[1..], &signed, &[0, 0]].concat();
        let signature = counted(&self.certificate_log.sign(&message).unwrap());
        let promise = [&[0], &sha256(&spki(&self.certificate_log))[..], &at, &[0, 0, 4, 3], &signature].concat();
        let list = item(OCTET_STRING, &counted(&counted(&promise))).unwrap();
        let id = [1, 3, 6, 1, 4, 1, 11129, 2, 4, 2];
        params.custom_extensions.push(CustomExtension::from_oid_content(&id, list));
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        Signer { key, der: certificate.der().to_vec(), pem: certificate.pem() }
    }

    /// The log's entry of an envelope around [`PAYLOAD`].
    pub(super) fn entry(&self, signer: &Signer, signature: &[u8], at: i64) -> Value {
        self.entry_of(&dsse_body(&signer.pem, signature), at)
    }

    pub(super) fn entry_of(&self, body: &Value, at: i64) -> Value {
        let body = encode(body.to_string().as_bytes());
        let id = sha256(&spki(&self.log));
        let promised =
            format!(r#"{{"body":"{body}","integratedTime":{at},"logID":"{}","logIndex":7}}"#, hex::encode(&id));
        json!({
            "logIndex": "7",
            "logId": {"keyId": encode(&id)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": at.to_string(),
            "inclusionPromise": {"signedEntryTimestamp": encode(&self.log.sign(promised.as_bytes()).unwrap())},
            "canonicalizedBody": body,
        })
    }

    /// A proof that a body is the second of three leaves.
    pub(super) fn proof(&self, body: &[u8]) -> Value {
        let leaf = |body: &[u8]| sha256(&[&[0], body].concat());
        let node = |left: &[u8], right: &[u8]| sha256(&[&[1], left, right].concat());
        let (first, third) = (leaf(b"first"), leaf(b"third"));
        let root = node(&node(&first, &leaf(body)), &third);
        let note = format!("log.example.com - 1\n3\n{}\n", encode(&root));
        let signature = [&[1, 2, 3, 4], &self.log.sign(note.as_bytes()).unwrap()[..]].concat();
        json!({
            "logIndex": "1",
            "treeSize": "3",
            "rootHash": encode(&root),
            "hashes": [encode(&first), encode(&third)],
            "checkpoint": {"envelope": format!("{note}\n\u{2014} log.example.com {}\n", encode(&signature))},
        })
    }

    /// A timestamp by the root's authority.
    pub(super) fn stamp(&self, bytes: &[u8], at: &str) -> Vec<u8> {
        self.stamp_by(&self.stamper, bytes, at)
    }

    pub(super) fn stamp_by(&self, key: &KeyPair, bytes: &[u8], at: &str) -> Vec<u8> {
        let hash = sequence(&[&oid("2.16.840.1.101.3.4.2.1")]);
        let octets = |bytes: &[u8]| item(OCTET_STRING, bytes).unwrap();
        let number = |number: u8| item(INTEGER, &[number]).unwrap();
        let set = |parts: &[&[u8]]| item(SET, &parts.concat()).unwrap();
        let info = sequence(&[
            &number(1),
            &oid("1.2.3"),
            &sequence(&[&hash, &octets(&sha256(bytes))]),
            &number(5),
            &item(GENERALIZED_TIME, at.as_bytes()).unwrap(),
        ]);
        let kind = oid("1.2.840.113549.1.9.16.1.4");
        let attributes = [
            sequence(&[&oid("1.2.840.113549.1.9.3"), &set(&[&kind])]),
            sequence(&[&oid("1.2.840.113549.1.9.4"), &set(&[&octets(&sha256(&info))])]),
        ]
        .concat();
        let signer = sequence(&[
            &number(1),
            &sequence(&[]),
            &hash,
            &item(context(0), &attributes).unwrap(),
            &sequence(&[&oid("1.2.840.10045.4.3.2")]),
            &octets(&key.sign(&item(SET, &attributes).unwrap()).unwrap()),
        ]);
        let signed = sequence(&[
            &number(3),
            &set(&[&hash]),
            &sequence(&[&kind, &item(context(0), &octets(&info)).unwrap()]),
            &item(context(0), &self.stamper_der).unwrap(),
            &set(&[&signer]),
        ]);
        let token = sequence(&[&oid("1.2.840.113549.1.7.2"), &item(context(0), &signed).unwrap()]);
        sequence(&[&sequence(&[&number(0)]), &token])
    }
}

/// One identity, and a root.
pub(super) fn trust(root: &Value) -> Trust {
    let mut trust = Trust::none();
    trust.add_identity(ISSUER, "https://git.example.com/ml/*").unwrap();
    trust.set_root(root.to_string().as_bytes()).unwrap();
    trust
}

/// A certificate for [`ISSUER`] and [`SUBJECT`] on the day of [`NOON`].
pub(super) fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 1, 2));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    params.subject_alt_names = vec![SanType::URI(SUBJECT.try_into().unwrap())];
    let issuer = item(UTF8_STRING, ISSUER.as_bytes()).unwrap();
    params.custom_extensions = vec![CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 57264, 1, 8], issuer)];
    params
}

/// The certificate alone.
pub(super) fn material(signer: &Signer) -> Value {
    json!({"certificate": {"rawBytes": encode(&signer.der)}})
}

pub(super) fn dsse_body(verifier: &str, signature: &[u8]) -> Value {
    json!({"apiVersion": "0.0.1", "kind": "dsse", "spec": {
        "envelopeHash": {"algorithm": "sha256", "value": "00"},
        "payloadHash": {"algorithm": "sha256", "value": hex::encode(sha256(PAYLOAD))},
        "signatures": [{"signature": encode(signature), "verifier": encode(verifier.as_bytes())}],
    }})
}

pub(super) fn spki(key: &KeyPair) -> Vec<u8> {
    use rcgen::PublicKeyData as _;
    key.subject_public_key_info()
}

fn authority(name: &str) -> (Issuer<'static, KeyPair>, Vec<u8>) {
    let key = key();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2040, 1, 1));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let der = params.self_signed(&key).unwrap().der().to_vec();
    (Issuer::new(params, key), der)
}

fn oid(text: &str) -> Vec<u8> {
    ObjectIdentifier::new_unwrap(text).to_der().unwrap()
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    item(SEQUENCE, &parts.concat()).unwrap()
}

/// Bytes behind their length of two bytes.
fn counted(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}
