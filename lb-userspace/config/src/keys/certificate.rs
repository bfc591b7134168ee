//! The keys of `[[listener.certificate]]`.

use super::form::{DIRECTORY, EMAIL, HOST};
use super::{Absent, Required};
use crate::schema::{Kind, Section, key};

pub(crate) static CERTIFICATE: Section = Section {
    heading: "[[listener.certificate]]",
    doc: "A certificate of the `[[listener]]` above it: `cert` and `key`, or `acme`. A client that names no host, or an unknown one, gets the first.",
    keys: &[
        key(
            "names",
            Kind::List(&Kind::Text(&HOST)),
            Absent("those in the certificate"),
            "Hosts it is for: `api.example.com`, or `*.example.com` for one label. `acme` needs them.",
        ),
        key(
            "cert",
            Kind::Path,
            Absent("see `acme`"),
            "The chain (PEM), the leaf first. A change on disk is noticed within 3 s.",
        ),
        key("key", Kind::Path, Absent("see `acme`"), "Its key (PEM)."),
        key(
            "acme",
            Kind::Table(&ACME),
            Absent("`cert` and `key` are files"),
            "The certificate is ordered, and renewed, automatically (RFC 8555).",
        ),
    ],
    later: &[],
};

pub(crate) static ACME: Section = Section {
    heading: "[listener.certificate.acme]",
    doc: "From whom a certificate is ordered; mostly inline: `acme = { directory = \"https://…\" }`.",
    keys: &[
        key("directory", Kind::Text(&DIRECTORY), Required, "The authority's directory, a URL."),
        key("email", Kind::Text(&EMAIL), Absent("none is told"), "Whom the authority may write to."),
        key(
            "ca",
            Kind::Path,
            Absent("the system's roots"),
            "Certificates (PEM) that the authority's own is verified with.",
        ),
    ],
    later: &[],
};
