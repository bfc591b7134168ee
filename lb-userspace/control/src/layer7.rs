//! Layer 7 as the control plane holds it: a gateway once there is something to listen on, and the plan it has been given.

use lb_gateway::{Gateway, GatewayError, GatewayOptions, HttpCounters, HttpPlan, Inherited};
use lb_model::Host;

use crate::http_plan::sharing;

/// How the gateway is to begin, whenever it does.
#[derive(Debug, Default)]
pub struct HttpOptions {
    /// 0: one per core.
    pub workers: usize,
    /// Listening sockets of the process that is taken over.
    pub inherited: Vec<Inherited>,
}

#[derive(Debug, Default)]
pub(crate) struct Layer7 {
    pub(crate) gateway: Option<Gateway>,
    pub(crate) in_force: HttpPlan,
    options: HttpOptions,
}

impl Layer7 {
    pub(crate) fn new(options: HttpOptions) -> Self {
        Self { options, ..Self::default() }
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.gateway.is_some()
    }

    /// Starts the gateway if this plan is the first to need one.
    fn ready(&mut self, plan: &HttpPlan, host: &Host) -> Result<Option<&mut Gateway>, GatewayError> {
        if self.gateway.is_none() && !plan.listeners.is_empty() {
            let inherited = std::mem::take(&mut self.options.inherited);
            let (host, state_dir, workers) = (host.clone(), host.state_dir.clone(), self.options.workers);
            self.gateway = Some(Gateway::start(GatewayOptions { host, state_dir, workers, inherited })?);
        }
        Ok(self.gateway.as_mut())
    }

    /// Could this plan be put in force? Changes nothing but that a gateway may stand ready afterwards.
    pub(crate) fn check(&mut self, plan: &HttpPlan, host: &Host) -> Result<(), Vec<GatewayError>> {
        let plan = sharing(plan.clone(), &self.in_force);
        match self.ready(&plan, host).map_err(|e| vec![e])? {
            Some(gateway) => gateway.check(&plan),
            None => Ok(()),
        }
    }

    /// Puts a plan in force, whole or not at all; one that is in force already is not put there again.
    pub(crate) fn apply(&mut self, plan: HttpPlan, host: &Host) -> Result<(), GatewayError> {
        if plan == self.in_force {
            return Ok(());
        }
        let plan = sharing(plan, &self.in_force);
        if let Some(gateway) = self.ready(&plan, host)? {
            gateway.apply(plan.clone())?;
        }
        self.in_force = plan;
        Ok(())
    }

    pub(crate) fn counters(&self) -> HttpCounters {
        self.gateway.as_ref().map(Gateway::counters).unwrap_or_default()
    }
}

/// Whether what failed is the configuration's fault (a file that it names), not the host's.
pub(crate) fn is_configurations(error: &GatewayError) -> bool {
    matches!(error, GatewayError::File(_))
}
