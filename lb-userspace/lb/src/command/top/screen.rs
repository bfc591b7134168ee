//! What `lb top` draws.

use std::collections::HashMap;
use std::time::Instant;

use crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers};
use lb_api::wire::{BackendDoc, RouteDoc, ServiceDoc, StatusDoc};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Table};

use super::super::status::reasons;
use super::rate::{Rates, Reading};
use crate::print::units;

#[derive(Debug)]
pub(super) struct Screen {
    status: StatusDoc,
    rates: Rates,
    /// Why the last look failed.
    lost: Option<String>,
    /// Backends scrolled past.
    scroll: usize,
}

impl Screen {
    pub(super) fn new(status: StatusDoc) -> Self {
        Self { status, rates: Rates::default(), lost: None, scroll: 0 }
    }

    pub(super) fn update(&mut self, next: StatusDoc, now: Instant) {
        self.rates.update(now, readings(&next));
        self.status = next;
        self.lost = None;
    }

    pub(super) fn lost(&mut self, why: String) {
        self.lost = Some(why);
    }

    /// True: the user has seen enough.
    pub(super) fn key(&mut self, event: Event) -> bool {
        let Event::Key(key) = event else { return false };
        if key.kind == KeyEventKind::Release {
            return false;
        }
        let backends = self.status.pools.iter().map(|p| p.backends.len()).sum::<usize>();
        let last = backends.saturating_sub(1);
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return true,
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
            KeyCode::Down | KeyCode::Char('j') => self.scroll = (self.scroll + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.scroll = self.scroll.saturating_sub(1),
            KeyCode::PageDown => self.scroll = (self.scroll + 10).min(last),
            KeyCode::PageUp => self.scroll = self.scroll.saturating_sub(10),
            KeyCode::Home => self.scroll = 0,
            _ => {}
        }
        false
    }

    pub(super) fn draw(&self, frame: &mut Frame<'_>) {
        // What there is nothing of takes no room.
        let room = |n: usize, most: u16| match u16::try_from(n).unwrap_or(u16::MAX) {
            0 => 0,
            n => n.saturating_add(3).min(most),
        };
        let (all, s) = (frame.area().height, &self.status);
        let [head, middle, routes, bottom, foot] = Layout::vertical([
            Constraint::Length(3),
            Constraint::Length(room(s.services.len(), all / 3)),
            Constraint::Length(room(s.routes.len(), all / 3)),
            Constraint::Min(4),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        frame.render_widget(self.head(), head);
        self.services(frame, middle);
        self.routes(frame, routes);
        self.backends(frame, bottom);
        let foot_line = match &self.lost {
            Some(why) => Line::from(why.as_str()).red(),
            None => Line::from("q quit   ↑↓ scroll backends").dim(),
        };
        frame.render_widget(foot_line, foot);
    }

    fn head(&self) -> Paragraph<'_> {
        let s = &self.status;
        let colour = if s.data_plane == "xdp" { Color::Green } else { Color::Yellow };
        let interfaces: Vec<_> = s.interfaces.iter().map(|i| format!("{} ({})", i.name, i.mode)).collect();
        let first = Line::from(vec![
            Span::from(format!("lb {}", s.version)).bold(),
            Span::from(format!("   up {}   ", units::seconds(s.uptime_seconds))),
            Span::styled(s.data_plane.as_str(), Style::new().fg(colour).bold()),
            Span::from(format!("  {}", interfaces.join(", "))),
        ]);
        let second = Line::from(format!(
            "flows {} of {}   memory {}   {}",
            units::count(s.flows),
            units::count(s.flow_capacity),
            units::bytes(s.memory_bytes),
            if s.dropped.is_empty() { String::new() } else { format!("dropped: {}", reasons(&s.dropped)) }
        ));
        if s.listeners.is_empty() {
            return Paragraph::new(vec![first, second]);
        }
        let connections: u64 = s.listeners.iter().map(|l| l.connections).sum();
        let refused = if s.refused.is_empty() { String::new() } else { format!("   refused: {}", reasons(&s.refused)) };
        let third = Line::from(format!("connections of clients {}{refused}", units::count(connections)));
        Paragraph::new(vec![first, second, third])
    }

    fn services(&self, frame: &mut Frame<'_>, area: Rect) {
        let rows = self.status.services.iter().map(|s| {
            let rate = self.rates.of(&service_key(s));
            Row::new([
                Cell::from(s.name.as_str()),
                Cell::from(s.listen.as_str()),
                Cell::from(s.algorithm.as_str()),
                right(units::count(s.active_flows)),
                right(format!("{:.0}", rate.flows)),
                right(format!("{:.0}", rate.packets)),
                right(format!("{}/s", units::bytes(rate.bytes as u64))),
                Cell::from(reasons(&s.dropped)).red(),
            ])
        });
        let widths = [16, 24, 21, 9, 9, 10, 12, 30].map(Constraint::Min);
        let head = ["service", "listen", "algorithm", "active", "flows/s", "packets/s", "rate", "dropped"];
        frame.render_widget(table(rows.collect(), widths, head, "Services"), area);
    }

    fn routes(&self, frame: &mut Frame<'_>, area: Rect) {
        let rows = self.status.routes.iter().map(|r| {
            let rate = self.rates.of(&route_key(r));
            let latency = |ms: Option<f64>| right(ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms")));
            let errors = right(format!("{:.0}", rate.packets));
            Row::new([
                Cell::from(r.name.as_str()),
                Cell::from(r.listener.join(", ")),
                Cell::from(r.pool.as_deref().unwrap_or("-")),
                right(units::count(r.requests)),
                right(format!("{:.0}", rate.flows)),
                if rate.packets > 0.0 { errors.red() } else { errors },
                latency(r.p50_ms),
                latency(r.p99_ms),
            ])
        });
        let widths = [16, 16, 16, 12, 11, 9, 10, 10].map(Constraint::Min);
        let head = ["route", "listener", "pool", "requests", "requests/s", "errors/s", "p50", "p99"];
        frame.render_widget(table(rows.collect(), widths, head, "Routes"), area);
    }

    fn backends(&self, frame: &mut Frame<'_>, area: Rect) {
        let all = self.status.pools.iter().flat_map(|p| &p.backends);
        let rows = all.skip(self.scroll).map(|b| {
            let rate = self.rates.of(&backend_key(b));
            let health = match b.health.as_str() {
                "unhealthy" => Cell::from(format!("unhealthy: {}", b.reason)).red(),
                "healthy" => Cell::from("healthy").green(),
                other => Cell::from(other).dim(),
            };
            let state = Cell::from(b.state.as_str());
            Row::new([
                Cell::from(b.pool.as_str()),
                Cell::from(b.address.as_str()),
                right(b.weight.to_string()),
                if b.state == "active" { state } else { state.yellow() },
                right(units::count(b.active_flows)),
                right(format!("{:.0}", rate.flows)),
                right(format!("{}/s", units::bytes(rate.bytes as u64))),
                health,
            ])
        });
        let widths = [16, 24, 7, 9, 9, 9, 12, 30].map(Constraint::Min);
        let head = ["pool", "backend", "weight", "state", "active", "flows/s", "rate", "health"];
        frame.render_widget(table(rows.collect(), widths, head, "Backends"), area);
    }
}

fn table<'a>(rows: Vec<Row<'a>>, widths: [Constraint; 8], head: [&'a str; 8], title: &'a str) -> Table<'a> {
    let head = Row::new(head).style(Style::new().add_modifier(Modifier::BOLD));
    Table::new(rows, widths).header(head).block(Block::new().borders(Borders::TOP).title(title))
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned())
}

fn service_key(s: &ServiceDoc) -> String {
    format!("service {}", s.name)
}

fn route_key(r: &RouteDoc) -> String {
    format!("route {}", r.name)
}

fn backend_key(b: &BackendDoc) -> String {
    format!("backend {} {}", b.pool, b.address)
}

fn readings(s: &StatusDoc) -> HashMap<String, Reading> {
    let services = s.services.iter().map(|s| (service_key(s), [s.flows_total, s.packets, s.bytes]));
    let backends = s.pools.iter().flat_map(|p| &p.backends);
    let backends = backends.map(|b| (backend_key(b), [b.flows_total, b.packets, b.bytes]));
    // Errors stand where a service's packets do.
    let routes = s.routes.iter().map(|r| (route_key(r), [r.requests, r.errors, 0]));
    services.chain(routes).chain(backends).collect()
}
