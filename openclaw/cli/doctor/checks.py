"""The table of what C{openclaw doctor} looks for."""

from __future__ import annotations

from openclaw.cli.doctor import configuration as config
from openclaw.cli.doctor import machine, running
from openclaw.cli.doctor.findings import DoctorCheck

CHECKS = (
    DoctorCheck("core/doctor/config-valid", config.config_valid, needs_config=False),
    DoctorCheck("core/doctor/config-unused", config.unused_settings),
    DoctorCheck("core/doctor/variables", config.variables_set),
    DoctorCheck("core/doctor/gateway-auth", config.credential, is_local=True, repair=config.make_credential),
    DoctorCheck("core/doctor/gateway-bind", config.bind, is_local=True),
    DoctorCheck("core/doctor/security", config.plaintext_secrets),
    DoctorCheck(
        "core/doctor/state-folder", machine.state_folder, needs_config=False, repair=machine.repair_state_folder
    ),
    DoctorCheck("core/doctor/file-modes", machine.modes, needs_config=False, repair=machine.repair_modes),
    DoctorCheck("core/doctor/store", machine.store, needs_config=False),
    DoctorCheck("core/doctor/embedded-model", config.embedded_model, is_local=True),
    DoctorCheck("core/doctor/providers", config.providers, is_local=True),
    DoctorCheck("core/doctor/ways", config.ways, is_local=True),
    DoctorCheck("core/doctor/models", config.agents_models, is_local=True),
    DoctorCheck("core/doctor/gateway-port", running.port, is_local=True),
    DoctorCheck("core/doctor/gateway-ready", running.gateway_ready, is_local=True),
    DoctorCheck("core/doctor/service-unit", running.service_unit, needs_config=False),
    DoctorCheck("core/doctor/versions", machine.versions, needs_config=False),
    DoctorCheck("core/doctor/clock", machine.clock, needs_config=False),
)
"""All checks, in the order in which they are told."""
