/* SPDX-License-Identifier: GPL-2.0 */
/* For a test: the module is built as for a KVM whose struct kvm has less in the middle than the real one. */
#undef CONFIG_HAVE_KVM_PM_NOTIFIER
#undef CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES
#undef CONFIG_HAVE_KVM_IRQCHIP
