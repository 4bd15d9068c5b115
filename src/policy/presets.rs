//! Policies with a name: each is the TOML it stands for, nothing more.

/// A named policy.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    pub name: &'static str,
    /// The policy file it stands for.
    pub toml: &'static str,
}

/// Every preset.
pub const PRESETS: [Preset; 5] = [
    Preset { name: "full", toml: "# Everything: the built-in defaults.\n" },
    Preset {
        name: "calls",
        toml: "# Calls with their arguments and return values; no lines, no variables.\n\
               [events]\nlines = false\n\n[values]\nglobals = \"off\"\n",
    },
    Preset {
        name: "sampled",
        toml: "# 1 % of the time, in windows of a tenth of a second.\n\
               [sampling]\nmode = \"windows\"\non = \"100ms\"\nevery = \"10s\"\n",
    },
    Preset {
        name: "flight-recorder",
        toml: "# The latest calls in memory, dumped when something goes wrong or somebody asks.\n\
               [recorder]\non_recorder_error = \"disable\"\n\n\
               [events]\nlines = false\n\n\
               [values]\nglobals = \"off\"\n\n\
               [ring]\nstorage = \"memory\"\n\n\
               [triggers]\nsignal = \"SIGUSR2\"\nuncaught_exception = true\nserver_errors = true\n",
    },
    Preset {
        name: "off",
        toml: "# Nothing: the program runs as if the recorder were not there.\n\
               [events]\nlines = false\ncalls = false\nreturns = false\nexceptions = false\n\n\
               [io_capture]\nline_proxies = false\nfd_fallback = false\n",
    },
];

/// The preset of this name.
pub fn find(name: &str) -> Option<Preset> {
    PRESETS.into_iter().find(|preset| preset.name == name)
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::super::flight::{RingStorage, TriggerSignal};
    use super::super::layer::{Origin, resolve};
    use super::super::model::{Globals, RecorderPolicy, SamplingMode};
    use super::*;

    #[test]
    fn presets_do_what_they_say() {
        let policy = |name: &str| {
            let preset = find(name).unwrap();
            let layer = file::parse(preset.toml, |_| Origin::Preset(preset.name)).unwrap();
            (*resolve(&[&layer]).unwrap().policy).clone()
        };
        assert_eq!(policy("full"), RecorderPolicy::default());
        let calls = policy("calls");
        assert!(!calls.events.lines && calls.events.calls && calls.events.returns && calls.events.exceptions);
        assert_eq!(calls.values.globals, Globals::Off);
        let flight = policy("flight-recorder");
        assert_eq!(flight.ring.storage, RingStorage::Memory);
        assert!(flight.triggers.uncaught_exception && flight.triggers.server_errors);
        assert!(!flight.events.lines && flight.events.calls && flight.events.returns);
        assert_eq!(flight.triggers.signal, TriggerSignal::Usr2);
        let off = policy("off");
        assert!(off.events.none() && !off.io_capture.line_proxies);
        assert!(!calls.events.none());
        let sampled = policy("sampled").sampling;
        assert_eq!(sampled.mode, SamplingMode::Windows);
        assert_eq!(sampled.every, sampled.on * 100);
    }

    #[test]
    fn the_guide_shows_each_preset_as_the_toml_it_stands_for() {
        let guide = include_str!("../../docs/policy.md");
        for Preset { name, toml } in PRESETS {
            assert!(guide.contains(&format!("`{name}`\n\n```toml\n{toml}```\n")), "{name}");
        }
    }
}
