//! Both layers together: layer 4 in front of two gateways, each a `lb` in a namespace of its own, in front of services.
//! curl visits; then everything is changed under load.

mod load;
mod stage;
mod visit;

use std::time::Duration;

use anyhow::Result;
use lb_tests::clock;

use crate::claims::Claims;
use crate::picture;
use load::Load;
use stage::{GATEWAYS, Shop};

/// Claims that did not hold.
pub(crate) fn play(engine: &str) -> Result<usize> {
    picture::title(&format!("━━ layer 4 ({engine}) → two gateways → services ━━"));
    println!(
        "  curl ─▶ lb, layer 4 ─┬▶ lb, layer 7 (g0) ─┬▶ orders\n                       └▶ lb, layer 7 (g1) ─┴▶ \
         catalog, catalog-next"
    );
    let mut shop = Shop::build(engine)?;
    let mut claims = Claims::default();
    visit::all(&shop, &mut claims)?;
    changes(&mut shop, &mut claims)?;
    shop.stop()?;
    Ok(claims.broken)
}

/// A reload, a new certificate and a gateway drained, replaced and brought back, while clients ask without a pause.
fn changes(shop: &mut Shop, claims: &mut Claims) -> Result<()> {
    picture::title("Under load: a reload, a new certificate, and gateway g1 drained, stopped and started again");
    let load = Load::start(shop.lab.client(), &shop.root())?;
    clock::pass(Duration::from_millis(500));
    shop.shift_canary(50)?;
    for g in 0..GATEWAYS {
        print!("{}", indented(&shop.gateway(g)?.text(&["reload"])?));
    }
    shop.renew_certificate()?;
    clock::pass(Duration::from_millis(3500));
    let address = stage::gateway_address(1, 443).to_string();
    for port in [443, 80] {
        let address = stage::gateway_address(1, port).to_string();
        let pool = stage::pool_of(port);
        println!("  lb backend drain {pool} {address} --timeout 20s --wait");
        shop.layer4.text(&["backend", "drain", pool, &address, "--timeout", "20s", "--wait"])?;
    }
    shop.stop_gateway(1)?;
    clock::pass(Duration::from_millis(500));
    shop.start_gateway(1)?;
    for port in [443, 80] {
        let address = stage::gateway_address(1, port).to_string();
        shop.layer4.text(&["backend", "undrain", stage::pool_of(port), &address])?;
    }
    clock::until("g1 is healthy again", Duration::from_secs(15), || {
        Ok((shop.layer4.backend(&address)?["health"] == "healthy").then_some(()))
    })?;
    clock::pass(Duration::from_secs(1));
    let done = load.stop()?;
    for why in done.failures.iter().take(5) {
        println!("    {}", picture::paint("31", why));
    }
    claims.that(
        done.failures.is_empty() && done.requests > 100,
        &format!("{} HTTPS requests over {} connections meanwhile, none failed", done.requests, done.connections),
    );
    claims.that(done.serials > 1, "new connections got the new certificate, without a restart");
    Ok(())
}

pub(crate) fn indented(text: &str) -> String {
    text.lines().fold(String::new(), |all, l| all + "  │ " + l + "\n")
}
