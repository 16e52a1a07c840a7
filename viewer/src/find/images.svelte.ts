/** The image that a search is to be made of, until it is told at which resolution. */
export const images: { offered: File | null } = $state({ offered: null });
