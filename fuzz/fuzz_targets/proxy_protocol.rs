//! Any first bytes of a connection as a PROXY protocol header.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let whole = lb_gateway::listener::proxy_protocol::parse(bytes);
    if let Ok(Some((used, _))) = &whole {
        assert!(*used <= bytes.len());
        // What follows the header is not looked at, and less than the header is not enough.
        assert_eq!(format!("{whole:?}"), format!("{:?}", lb_gateway::listener::proxy_protocol::parse(&bytes[..*used])));
        assert!(!matches!(lb_gateway::listener::proxy_protocol::parse(&bytes[..used - 1]), Ok(Some(_))));
    }
});
