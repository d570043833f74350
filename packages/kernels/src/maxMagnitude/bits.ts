/** Elements that one output covers. */
export const STRETCH = 512;
/** All bits of a float but its sign: as whole numbers they order like magnitudes, Infinity next, NaN above all. */
export const MAGNITUDE_BITS = 0x7fffffff;
