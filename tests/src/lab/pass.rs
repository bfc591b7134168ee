//! A pass-all XDP program as an object file, for the far ends of the balancer's wires.
//!
//! A veth device takes frames sent by `XDP_TX` or redirected to it only if its peer runs NAPI, which an XDP program on
//! the peer sees to. Two instructions need no compiler: the object is written here.

use anyhow::{Context, Result};
use object::write::{Object, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind, SymbolScope};

/// `r0 = XDP_PASS; exit`
const CODE: [u8; 16] = [0xb7, 0, 0, 0, 2, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
pub(crate) const SECTION: &str = "xdp";

pub(crate) fn object() -> Result<Vec<u8>> {
    let mut out = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let code = out.add_section(Vec::new(), SECTION.into(), SectionKind::Text);
    out.append_section_data(code, &CODE, 8);
    let license = out.add_section(Vec::new(), b"license".into(), SectionKind::Data);
    out.append_section_data(license, b"GPL\0", 1);
    out.add_symbol(Symbol {
        name: b"pass".into(),
        value: 0,
        size: CODE.len() as u64,
        kind: SymbolKind::Text,
        scope: SymbolScope::Dynamic,
        weak: false,
        section: SymbolSection::Section(code),
        flags: SymbolFlags::None,
    });
    out.write().context("the pass-all program cannot be written as an object")
}
