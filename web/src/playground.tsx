import { config } from '@/config';

document.title = `${config.title} playground`;
