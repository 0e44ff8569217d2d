// SPDX-License-Identifier: GPL-2.0

//! QEMU's `edu` behind a VFIO device file: a PCI device with a DMA engine and an interrupt.
//!
//! QEMU: `docs/specs/edu.rst`

use std::{
    fs::File,
    mem::offset_of,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::FileExt,
    },
};

use vfio_bindings::bindings::vfio::*;

use super::{
    check, comes,
    event::Event,
    pci::{irq_set, vfio},
    same, Steps,
};
use crate::{
    argument::{laid, with, Argument},
    failure::{while_doing, Failure},
    sys::pages::Pages,
};

const GET_INFO: u32 = vfio(7);
const GET_REGION_INFO: u32 = vfio(8);
const GET_IRQ_INFO: u32 = vfio(9);
const SET_IRQS: u32 = vfio(10);
const RESET: u32 = vfio(11);
const GET_PCI_HOT_RESET_INFO: u32 = vfio(12);
const FEATURE: u32 = vfio(17);

// Registers.
const IDENTIFICATION: u64 = 0x00;
const IRQ_RAISE: u64 = 0x60;
const IRQ_ACKNOWLEDGE: u64 = 0x64;
const DMA_SOURCE: u64 = 0x80;
const DMA_DESTINATION: u64 = 0x88;
const DMA_COUNT: u64 = 0x90;
const DMA_COMMAND: u64 = 0x98;
/// Where its own buffer lies for its DMA engine.
const BUFFER: u32 = 0x40000;
const DMA_START: u32 = 1;
const DMA_TO_MEMORY: u32 = 2;

const BAR_BYTES: u64 = 1 << 20;
const CONFIG_BYTES: u64 = 256;
const PCI_COMMAND: u64 = 4;
const PCI_COMMAND_MEMORY_AND_MASTER: u16 = 0x6;
const PCI_STATUS: u64 = 6;
const PCI_STATUS_INTERRUPT: u16 = 0x8;

/// How much is moved at once.
const MOVED_BYTES: usize = 256;

pub struct Edu {
    device: File,
    bar: u64,
    config: u64,
    /// How often memory was filled: no two fillings are alike.
    fillings: u8,
}

impl Edu {
    /// Finds its registers, and lets it do DMA.
    pub fn new(steps: &mut Steps, device: OwnedFd) -> Result<Self, Failure> {
        let info = laid(|pages| pages.put(0, size_of::<vfio_device_info>() as u32))?;
        steps.must("device-info", &device, GET_INFO, &info)?;
        let flags = info.u32_at(offset_of!(vfio_device_info, flags));
        check(flags & VFIO_DEVICE_FLAGS_PCI != 0, || {
            format!("it is no PCI device: {flags:#x}")
        })?;
        let regions = info.u32_at(offset_of!(vfio_device_info, num_regions));
        same("regions", regions, VFIO_PCI_NUM_REGIONS)?;
        let irqs = info.u32_at(offset_of!(vfio_device_info, num_irqs));
        same("kinds of interrupts", irqs, VFIO_PCI_NUM_IRQS)?;

        let bar = region(VFIO_PCI_BAR0_REGION_INDEX)?;
        steps.must("bar0-info", &device, GET_REGION_INFO, &bar)?;
        let bar = region_offset(&bar, BAR_BYTES)?;
        let config = region(VFIO_PCI_CONFIG_REGION_INDEX)?;
        steps.must("config-info", &device, GET_REGION_INFO, &config)?;
        let config = region_offset(&config, CONFIG_BYTES)?;
        // It has no second BAR, and says so.
        let none = region(VFIO_PCI_BAR1_REGION_INDEX)?;
        if steps
            .step("bar1-info", &device, GET_REGION_INFO, &none)?
            .is_some()
        {
            region_offset(&none, 0)?;
        }

        let edu = Edu {
            device: device.into(),
            bar,
            config,
            fillings: 0,
        };
        edu.enable()?;
        let identification = edu.read(IDENTIFICATION)? & 0xffff;
        same("the device calls itself", identification, 0x00ed)?;
        Ok(edu)
    }

    /// Its file.
    pub fn file(&self) -> &File {
        &self.device
    }

    fn enable(&self) -> Result<(), Failure> {
        let command = self.config_word(PCI_COMMAND)? | PCI_COMMAND_MEMORY_AND_MASTER;
        let written = self
            .device
            .write_all_at(&command.to_le_bytes(), self.config + PCI_COMMAND);
        written.map_err(while_doing("cannot write to the configuration space"))
    }

    /// Whether the device moves bytes from `iova` to itself and from there to the next page, when
    /// `iova` should be that of the page at `offset` of `memory`.
    pub fn reaches(
        &mut self,
        memory: &mut Pages,
        offset: usize,
        iova: u32,
    ) -> Result<bool, Failure> {
        self.fillings += 1;
        let filling = [self.fillings; MOVED_BYTES];
        memory.put_bytes(offset, &filling);
        memory.put_bytes(offset + 4096, &[0; MOVED_BYTES]);
        self.dma(iova, BUFFER, DMA_START)?;
        self.dma(BUFFER, iova + 4096, DMA_START | DMA_TO_MEMORY)?;
        let arrived = memory.bytes_at(offset + 4096, MOVED_BYTES);
        let nothing = arrived.iter().all(|byte| *byte == 0);
        check(nothing || arrived == filling, || {
            format!("DMA left {arrived:x?} in memory")
        })?;
        Ok(!nothing)
    }

    fn dma(&self, from: u32, to: u32, command: u32) -> Result<(), Failure> {
        self.write(DMA_SOURCE, from)?;
        self.write(DMA_DESTINATION, to)?;
        self.write(DMA_COUNT, MOVED_BYTES as u32)?;
        self.write(DMA_COMMAND, command)?;
        let idle = || self.read(DMA_COMMAND).is_ok_and(|now| now & DMA_START == 0);
        check(comes(idle), || "the DMA engine does not end".to_owned())
    }

    /// Both kinds of interrupt, through eventfds.
    pub fn interrupts(&self, steps: &mut Steps) -> Result<(), Failure> {
        for (name, index, number) in [
            ("intx-info", VFIO_PCI_INTX_IRQ_INDEX, 1),
            ("msi-info", VFIO_PCI_MSI_IRQ_INDEX, 1),
            ("msix-info", VFIO_PCI_MSIX_IRQ_INDEX, 0),
        ] {
            let info = laid(|pages| {
                pages.put(0, size_of::<vfio_irq_info>() as u32);
                pages.put(offset_of!(vfio_irq_info, index), index);
                pages.put(offset_of!(vfio_irq_info, count), u32::MAX);
            })?;
            if steps
                .step(name, &self.device, GET_IRQ_INFO, &info)?
                .is_some()
            {
                let count = info.u32_at(offset_of!(vfio_irq_info, count));
                same(name, count, number)?;
            }
        }
        self.interrupt(steps, "intx", VFIO_PCI_INTX_IRQ_INDEX, true)?;
        self.interrupt(steps, "msi", VFIO_PCI_MSI_IRQ_INDEX, false)
    }

    fn interrupt(
        &self,
        steps: &mut Steps,
        name: &str,
        index: u32,
        masked: bool,
    ) -> Result<(), Failure> {
        let event = Event::new()?;
        let flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD;
        let by_eventfd = irq_set(index, flags, 1, event.as_raw_fd())?;
        if steps
            .step(name, &self.device, SET_IRQS, &by_eventfd)?
            .is_none()
        {
            self.write(IRQ_RAISE, 1)?;
            let came = event.comes_soon();
            self.write(IRQ_ACKNOWLEDGE, 1)?;
            return check(!came, || {
                format!("{name} was refused, and an interrupt came")
            });
        }
        for round in 0..2 {
            self.write(IRQ_RAISE, 1)?;
            check(event.comes(), || {
                format!("{name}: no interrupt {round} came")
            })?;
            self.write(IRQ_ACKNOWLEDGE, 1)?;
            if masked {
                let flags = VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_DATA_NONE;
                let unmask = irq_set(index, flags, 1, 0)?;
                steps.must(&format!("{name}-unmask"), &self.device, SET_IRQS, &unmask)?;
            }
        }
        let flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE;
        let none = irq_set(index, flags, 0, 0)?;
        steps.must(&format!("{name}-off"), &self.device, SET_IRQS, &none)?;
        self.write(IRQ_RAISE, 1)?;
        let came = event.comes_soon();
        self.write(IRQ_ACKNOWLEDGE, 1)?;
        check(!came, || format!("{name}: an interrupt came after the end"))
    }

    /// A reset takes an interrupt back that nobody has acknowledged.
    pub fn reset(&self, steps: &mut Steps) -> Result<(), Failure> {
        self.write(IRQ_RAISE, 1)?;
        check(self.is_asserted()?, || "no interrupt is pending".to_owned())?;
        let reset = steps.step("reset", &self.device, RESET, &Argument::number(0))?;
        same("pending", self.is_asserted()?, reset.is_none())?;
        self.write(IRQ_ACKNOWLEDGE, 1)?;
        self.enable()
    }

    fn is_asserted(&self) -> Result<bool, Failure> {
        Ok(self.config_word(PCI_STATUS)? & PCI_STATUS_INTERRUPT != 0)
    }

    /// What is asked of a device that has little to tell.
    pub fn features(&self, steps: &mut Steps, address: &str) -> Result<(), Failure> {
        let flags = VFIO_DEVICE_FEATURE_PROBE
            | VFIO_DEVICE_FEATURE_SET
            | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY;
        let argsz = size_of::<vfio_device_feature>() as u32;
        let probe = with([argsz, flags])?;
        if let Some(value) = steps.step("feature", &self.device, FEATURE, &probe)? {
            same("the feature", value, 0)?;
        }

        const ROOM: u32 = 8;
        let devices = offset_of!(vfio_pci_hot_reset_info, devices);
        let device_bytes = size_of::<vfio_pci_dependent_device>();
        let argsz = devices as u32 + ROOM * device_bytes as u32;
        let info = with([argsz, 0, u32::MAX])?;
        let told = steps.step(
            "hot-reset-info",
            &self.device,
            GET_PCI_HOT_RESET_INFO,
            &info,
        )?;
        if told.is_some() {
            let count = info.u32_at(offset_of!(vfio_pci_hot_reset_info, count));
            check((1..=ROOM).contains(&count), || {
                format!("{count} devices share the reset")
            })?;
            // Group, segment and bus and slot in 8 bytes.
            let own = (0..count as usize).any(|index| {
                let place = info.u32_at(devices + index * device_bytes + 4);
                let (bus, slot) = ((place >> 16) & 0xff, place >> 24);
                let text = format!(
                    "{:04x}:{bus:02x}:{:02x}.{}",
                    place & 0xffff,
                    slot >> 3,
                    slot & 7
                );
                text == address
            });
            check(own, || format!("{address} is not reset with itself"))?;
        }
        Ok(())
    }

    fn read(&self, register: u64) -> Result<u32, Failure> {
        let mut bytes = [0; 4];
        let read = self.device.read_exact_at(&mut bytes, self.bar + register);
        read.map_err(while_doing("cannot read a register"))?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn write(&self, register: u64, value: u32) -> Result<(), Failure> {
        let written = self
            .device
            .write_all_at(&value.to_le_bytes(), self.bar + register);
        written.map_err(while_doing("cannot write to a register"))
    }

    fn config_word(&self, offset: u64) -> Result<u16, Failure> {
        let mut bytes = [0; 2];
        let read = self.device.read_exact_at(&mut bytes, self.config + offset);
        read.map_err(while_doing("cannot read the configuration space"))?;
        Ok(u16::from_le_bytes(bytes))
    }
}

/// The argument of VFIO_DEVICE_GET_REGION_INFO, with rubbish where the answer belongs.
fn region(index: u32) -> Result<Argument, Failure> {
    with(vfio_region_info {
        argsz: size_of::<vfio_region_info>() as u32,
        index,
        size: u64::MAX,
        offset: u64::MAX,
        ..Default::default()
    })
}

/// Where a region begins in the device's file.
fn region_offset(info: &Argument, size_bytes: u64) -> Result<u64, Failure> {
    let size = info.u64_at(offset_of!(vfio_region_info, size));
    same("bytes of a region", size, size_bytes)?;
    let offset = info.u64_at(offset_of!(vfio_region_info, offset));
    check(offset != u64::MAX, || "a region lies nowhere".to_owned())?;
    Ok(offset)
}
