/** The largest finite f8e4m3fn. */
export const F8_MAX = 448;
